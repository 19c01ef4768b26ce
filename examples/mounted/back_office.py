"""An existing admin that includes Slipway."""

from fastapi import FastAPI

from slipway.admin.router import slipway_router

app = FastAPI(title="Back office")


@app.get("/orders/today")
async def orders_today() -> dict[str, int]:
    """Return the number of orders: a route of the existing admin."""
    return {"orders": 17}


app.include_router(slipway_router(), prefix="/slipway")
