"""What is taken out of use: live databases and test servers."""

from __future__ import annotations

from broker import removing
from broker.api.operations import new_blueprint, operation
from broker.tx import Tx

blueprint = new_blueprint("leaving", "What is taken out of use")


@operation(blueprint, "DELETE /databases/<id:database_id>", status=204)
def remove_database(tx: Tx, database_id: str) -> None:
    """Take a live database out of use; refused while anything of ours is there."""
    removing.remove_database(tx, database_id)


@operation(blueprint, "DELETE /servers/<id:server_id>", status=204)
def remove_server(tx: Tx, server_id: str) -> None:
    """Take a test server out of use; refused while a copy, or a look at one, is there."""
    removing.remove_server(tx, server_id)
