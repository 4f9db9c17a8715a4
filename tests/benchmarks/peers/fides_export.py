"""Fides' own collecting and packaging of one person: its PostgreSQL connector, its JSON upload.

    python fides_export.py DATABASE_URL USER_ID COLUMNS

Runs in an environment of fides' own (ethyca-fides), as a file: nothing of this project is there.
``COLUMNS`` is JSON: each table's columns. What is left out of fides is what needs its own database
and Redis: the request's bookkeeping, a look-up of its settings for each table, and one of an
encryption key (none is set). The package is written into ``fides_uploads`` in the working folder,
neither compressed nor synced.
"""

# mypy: ignore-errors

import json
import sys
import time
import uuid
from types import SimpleNamespace

import fides.api.db.base  # noqa: F401 - its models name one another
from fides.api.graph.config import Collection, GraphDataset, ScalarField
from fides.api.graph.graph import DatasetGraph
from fides.api.graph.traversal import Traversal
from fides.api.models.connectionconfig import ConnectionConfig, ConnectionType
from fides.api.service.connectors.postgres_connector import PostgreSQLConnector
from fides.api.tasks import storage
from loguru import logger

OWNERS = {
    "users": ("id",),
    "workflows": ("user_id",),
    "workflow_runs": ("user_id",),
    "api_tokens": ("user_id",),
    "audit_logs": ("actor_user_id", "subject_user_id"),
}


def dataset(columns):
    """The tables as a fides dataset; a person is found by one identity, ``subject``."""
    collections = [
        Collection(
            name=table,
            fields=[
                ScalarField(
                    name=column,
                    primary_key=column == "id",
                    identity="subject" if column in OWNERS[table] else None,
                )
                for column in names
            ],
        )
        for table, names in columns.items()
    ]
    return GraphDataset(name="application", collections=collections, connection_key="application")


def main(url, user_id, columns):
    started = time.perf_counter()
    logger.remove()
    PostgreSQLConnector.should_dry_run = lambda self, mode: False
    storage.encrypt_access_request_results = lambda text, request_id: text
    nodes = []
    traversal = Traversal(DatasetGraph(dataset(columns)), {"subject": user_id})
    traversal.traverse({}, lambda node, _: nodes.append(node))
    connector = PostgreSQLConnector(
        ConnectionConfig(
            key="application",
            connection_type=ConnectionType.postgres,
            secrets={"url": url, "host": "unused", "dbname": "unused"},
        )
    )
    results = {}
    for node in nodes:
        if not node.is_root_node():
            found_by = {column: [user_id] for column in OWNERS[node.address.collection]}
            results[str(node.address)] = connector.retrieve_data(
                node.to_mock_execution_node(), None, None, None, found_by
            )
    storage.upload_to_local(results, "package.json", SimpleNamespace(id=str(uuid.uuid4())), "json")
    counts = {name: len(rows) for name, rows in results.items()}
    print(json.dumps({"work_seconds": time.perf_counter() - started, "rows": counts}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
