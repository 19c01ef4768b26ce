// Purges one URL: `GET /purge<path and query>` with the header X-Purge-Token.
// 200: the entry was removed. 404: nothing was stored. 403: wrong token.
// nginx opens the file on every hit, so the next request after an unlink is a miss.
import crypto from 'crypto';
import fs from 'fs';

const PREFIX = '/purge';

function purge(r) {
    const token = r.variables.purge_token;
    if (token === '' || r.headersIn['X-Purge-Token'] !== token) {
        r.return(403, 'Wrong purge token\n');
        return;
    }
    // The raw target, as in proxy_cache_key: r.uri is decoded and would miss encoded paths.
    const target = r.variables.request_uri;
    const removed = target.startsWith(PREFIX + '/') && removeEntry(r.variables.pages_dir, target.slice(PREFIX.length));
    r.return(removed ? 200 : 404, removed ? 'Purged\n' : 'Nothing to purge\n');
}

function removeEntry(folder, key) {
    const name = crypto.createHash('md5').update(key).digest('hex');
    try {
        // levels=1:2 of proxy_cache_path
        fs.unlinkSync(`${folder}/${name.slice(-1)}/${name.slice(-3, -1)}/${name}`);
        return true;
    } catch (error) {
        if (error.code === 'ENOENT') {
            return false;
        }
        throw error;
    }
}

export default { purge };
