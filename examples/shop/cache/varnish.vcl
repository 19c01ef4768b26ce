# Varnish in front of the shop (7.1 to 7.6, with the xkey module of varnish-modules).
# Fill in @ORIGIN_PORT@ and @PURGE_TOKEN@ (letters, digits, - and _ only).
vcl 4.1;

import std;
import xkey;

backend shop {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
    .connect_timeout = 2s;
    .first_byte_timeout = 60s;
    .between_bytes_timeout = 30s;
}

sub vcl_recv {
    unset req.http.X-Purged;
    if (req.method == "PURGE" || req.method == "BAN") {
        # A missing header equals an empty string, so an empty token must not be enough.
        if (!req.http.X-Purge-Token || req.http.X-Purge-Token != "@PURGE_TOKEN@") {
            return (synth(403, "Wrong purge token"));
        }
        if (req.method == "BAN") {
            # A regular expression, escaped by the caller. It uses only stored headers, so that the ban lurker can process it.
            if (!req.http.X-Ban-Prefix || !std.ban("obj.http.x-url ~ ^" + req.http.X-Ban-Prefix)) {
                return (synth(400, "No ban"));
            }
            return (synth(200, "Banned"));
        }
        if (req.http.xkey-softpurge) {
            set req.http.X-Purged = xkey.softpurge(req.http.xkey-softpurge);
            return (synth(200, "Purged softly"));
        }
        if (req.http.xkey-purge) {
            set req.http.X-Purged = xkey.purge(req.http.xkey-purge);
            return (synth(200, "Purged"));
        }
        return (purge);
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    std.collect(req.http.Cookie, "; ");
    if (req.http.Cookie ~ "(^|;\s*)shop_session=") {
        return (pass);
    }
    # A page depends only on the session cookie. Other cookies would only split the cache.
    unset req.http.Cookie;
}

sub vcl_hash {
    # The Host is not part of the key, so a purge does not depend on it.
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    if (beresp.http.Surrogate-Key) {
        set beresp.http.xkey = beresp.http.Surrogate-Key;
    }
    set beresp.http.x-url = bereq.url;
    # A page is fresh or fetched again. Stale pages are neither served nor measured.
    set beresp.grace = 0s;
}

sub vcl_deliver {
    unset resp.http.xkey;
    unset resp.http.x-url;
    if (obj.uncacheable) {
        set resp.http.X-Cache = "PASS";
    } elsif (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}

sub vcl_synth {
    set resp.http.X-Cache = "PASS";
    if (req.http.X-Purged) {
        set resp.http.X-Purged = req.http.X-Purged;
    }
}
