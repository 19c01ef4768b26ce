"""Signing in and out, and who is signed in."""

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
    """Make the signer of session cookies."""
    return URLSafeTimedSerializer(secret, salt=COOKIE)


def find_customer(request: Request, connection: Connection) -> Row | None:
    """Return the signed-in customer, or None when the cookie is missing, forged or old."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    try:
        customer_id = request.app.state.signer.loads(cookie, max_age=TWO_WEEKS)
    except BadSignature:
        return None
    return connection.execute(database.CUSTOMER_BY_ID, {"customer_id": customer_id}).one_or_none()


def redirect(path: str) -> Response:
    """Send the browser to another page with GET."""
    return RedirectResponse(path, 303, {"Cache-Control": PRIVATE})


@router.api_route("/sign-in", methods=["GET", "HEAD"])
def show_form(request: Request) -> Response:
    """Show the form."""
    with request.app.state.pool.connect() as connection:
        return send_private("sign_in.html", customer=find_customer(request, connection))


@router.post("/sign-in")
def sign_in(request: Request, email: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "") -> Response:
    """Sign in and go to the account, or show the form again."""
    with request.app.state.pool.connect() as connection:
        customer = connection.execute(database.CUSTOMER_BY_EMAIL, {"email": email.strip().lower()}).one_or_none()
    if not check_password(password, customer.password_hash if customer else None) or customer is None:
        return send_private("sign_in.html", 401, customer=None, email=email, refused=True)
    answer = redirect("/account")
    cookie = request.app.state.signer.dumps(customer.id)
    answer.set_cookie(COOKIE, cookie, max_age=TWO_WEEKS, httponly=True, samesite="lax")
    return answer


@router.post("/sign-out")
def sign_out() -> Response:
    """Forget the session and go home."""
    answer = redirect("/")
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return answer
