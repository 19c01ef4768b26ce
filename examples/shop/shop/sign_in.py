"""Sign-in, sign-out, and the signed-in customer."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import Connection, Row

from shop import database
from shop.pages import PRIVATE, send_private
from shop.passwords import check_password

COOKIE = "shop_session"
TWO_WEEKS = 14 * 24 * 3600

router = APIRouter()


def open_signer(secret: str) -> URLSafeTimedSerializer:
    """Return the signer of session cookies."""
    return URLSafeTimedSerializer(secret, salt=COOKIE)


def find_customer(request: Request, connection: Connection) -> Row | None:
    """Return the signed-in customer, or None if the cookie is missing, forged or expired."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    try:
        customer_id = request.app.state.signer.loads(cookie, max_age=TWO_WEEKS)
    except BadSignature:
        return None
    return connection.execute(database.CUSTOMER_BY_ID, {"customer_id": customer_id}).one_or_none()


def redirect(path: str) -> Response:
    """Return a redirect that the browser follows with GET."""
    return RedirectResponse(path, 303, {"Cache-Control": PRIVATE})


@router.api_route("/sign-in", methods=["GET", "HEAD"])
def show_form(request: Request) -> Response:
    """Show the sign-in form."""
    with request.app.state.pool.connect() as connection:
        return send_private("sign_in.html", customer=find_customer(request, connection))


@router.post("/sign-in")
def sign_in(request: Request, email: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "") -> Response:
    """Sign in and redirect to the account, or show the form again."""
    with request.app.state.pool.connect() as connection:
        customer = connection.execute(database.CUSTOMER_BY_EMAIL, {"email": email.strip().lower()}).one_or_none()
    if not check_password(password, customer.password_hash if customer else None) or customer is None:
        return send_private("sign_in.html", 401, customer=None, email=email, refused=True)
    response = redirect("/account")
    cookie = request.app.state.signer.dumps(customer.id)
    response.set_cookie(COOKIE, cookie, max_age=TWO_WEEKS, httponly=True, samesite="lax")
    return response


@router.post("/sign-out")
def sign_out() -> Response:
    """Delete the session cookie and redirect to the home page."""
    response = redirect("/")
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response
