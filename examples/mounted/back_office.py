"""An admin that exists already, and Slipway in it."""

from fastapi import FastAPI

from slipway.admin.router import slipway_router

app = FastAPI(title="Back office")


@app.get("/orders/today")
async def orders_today() -> dict[str, int]:
    """What the admin did before."""
    return {"orders": 17}


app.include_router(slipway_router(), prefix="/slipway")
