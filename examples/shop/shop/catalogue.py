"""The public pages: home, the products, one product."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import Response
from sqlalchemy import Row

from shop import database
from shop.pages import send_catalogue
from shop.sign_in import find_customer

PAGE_SIZE = 24
LARGEST_ID = 2**31 - 1

router = APIRouter()


def tag_products(products: Iterable[Row]) -> list[str]:
    """Return the surrogate keys of a page that shows these products."""
    return ["products", *(f"product-{product.id}" for product in products)]


@router.api_route("/", methods=["GET", "HEAD"])
def show_home(request: Request) -> Response:
    """Show the newest products."""
    with request.app.state.pool.connect() as connection:
        customer = find_customer(request, connection)
        products = connection.execute(database.NEWEST_PRODUCTS).all()
    return send_catalogue(request, "home.html", ["home", *tag_products(products)], customer=customer, products=products)


@router.api_route("/products", methods=["GET", "HEAD"])
def list_products(request: Request, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> Response:
    """Show one page of the catalogue, in the order of the ids."""
    window = {"size": PAGE_SIZE + 1, "start": (page - 1) * PAGE_SIZE}  # one more row shows whether a next page exists
    with request.app.state.pool.connect() as connection:
        customer = find_customer(request, connection)
        products = connection.execute(database.PRODUCTS_OF_PAGE, window).all()
    if not products and page > 1:
        raise HTTPException(404)
    shown, has_next = products[:PAGE_SIZE], len(products) > PAGE_SIZE
    context = {"customer": customer, "products": shown, "page": page, "has_next": has_next}
    return send_catalogue(request, "products.html", tag_products(shown), **context)


@router.api_route("/products/{product_id:int}", methods=["GET", "HEAD"])
def show_product(request: Request, product_id: Annotated[int, Path(le=LARGEST_ID)]) -> Response:
    """Show one product."""
    with request.app.state.pool.connect() as connection:
        customer = find_customer(request, connection)
        product = connection.execute(database.PRODUCT, {"product_id": product_id}).one_or_none()
    if product is None:
        raise HTTPException(404)
    return send_catalogue(request, "product.html", tag_products([product]), customer=customer, product=product)
