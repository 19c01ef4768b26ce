"""Roll a shipped change back."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cards import card
from slipway.change import ChangeName
from slipway.record import command_table, purge_lines
from tasks.hold import hold_service, release_service
from tasks.purge import purge
from tasks.record import append_to_record
from tasks.roll_back import roll_back
from tasks.validate import read_plan

CARD = card(
    "Rolls a shipped change back: the database by the service's own downgrade, then the purge of the change's routes.",
    owner="the owner named in the change file",
    expected="The database at the revision from which the change started; repeating it finds nothing left to do.",
    rollback="Ship the change again.",
)


@flow(name="roll-back-change", flow_run_name="roll-back-change {change}", description=CARD)
def roll_back_change(change: ChangeName) -> State[str]:
    """Look where the database stands, move it back, purge, record."""
    plan = read_plan(change)
    hold_service(plan)
    try:
        reverted = roll_back(plan)
        purged = purge(plan, label="after the roll back")
        commands = reverted.migration.commands if reverted.migration else ()
        lines = [f"- Rolled back: {reverted.sentence}", *purge_lines("Purged", purged), "", *command_table(commands)]
        append_to_record(change, "\n".join(lines))
    finally:
        release_service(plan)
    return Completed(name="RolledBack", message=reverted.sentence, data=reverted.sentence)
