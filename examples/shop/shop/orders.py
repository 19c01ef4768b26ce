"""The pages of one customer: the orders and the account."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from shop import database
from shop.pages import send_private
from shop.sign_in import find_customer, redirect

router = APIRouter()


@router.api_route("/orders", methods=["GET", "HEAD"])
def show_orders(request: Request) -> Response:
    """Show the last twenty orders."""
    with request.app.state.pool.connect() as connection:
        customer = find_customer(request, connection)
        if customer is None:
            return redirect("/sign-in")
        orders = connection.execute(database.RECENT_ORDERS, {"customer_id": customer.id}).all()
    return send_private("orders.html", customer=customer, orders=orders)


@router.api_route("/account", methods=["GET", "HEAD"])
def show_account(request: Request) -> Response:
    """Show who is signed in, how many orders are open, and the five most recent of them."""
    with request.app.state.pool.connect() as connection:
        customer = find_customer(request, connection)
        if customer is None:
            return redirect("/sign-in")
        open_count = connection.execute(database.COUNT_OPEN_ORDERS, {"customer_id": customer.id}).scalar_one()
        orders = connection.execute(database.OPEN_ORDERS, {"customer_id": customer.id}).all()
    return send_private("account.html", customer=customer, open_count=open_count, orders=orders)
