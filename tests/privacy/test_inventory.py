"""The inventory and the live schema say the same, both ways."""

import re
from typing import get_args

import asyncpg
import pytest

from hushwire.app.folders import Folders, Zone2
from hushwire.privacy import inventory
from hushwire.privacy.inventory import DatabaseName, Erasure, Form, Residency, blob_kinds, columns, holding, personal_columns
from tests.databases import Databases

LIVE = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
DATABASES: tuple[DatabaseName, ...] = get_args(DatabaseName)


async def _live(databases: Databases, database: DatabaseName) -> dict[tuple[str, str], str]:
    connection = await asyncpg.connect(databases.dsn(database))
    try:
        return {(row[0], row[1]): row[2] for row in await connection.fetch(LIVE)}
    finally:
        await connection.close()


@pytest.mark.parametrize("database", DATABASES)
async def test_every_live_column_is_classified_and_every_entry_is_a_live_column(databases: Databases, database: DatabaseName) -> None:
    live = set(await _live(databases, database))
    classified = {(column.table, column.name) for column in columns() if column.database == database}
    assert live - classified == set(), "columns that privacy/inventory.py does not classify"
    assert classified - live == set(), "entries of privacy/inventory.py that are no column"


async def test_a_new_column_or_table_or_view_would_be_noticed(databases: Databases) -> None:
    connection = await asyncpg.connect(databases.dsn("main"))
    try:
        await connection.execute("ALTER TABLE calls ADD COLUMN caller_name text")
        await connection.execute("CREATE TABLE address_book (name text)")
        await connection.execute("CREATE VIEW seen AS SELECT 1 AS one")
    finally:
        await connection.close()
    classified = {(column.table, column.name) for column in columns() if column.database == "main"}
    assert set(await _live(databases, "main")) - classified == {("calls", "caller_name"), ("address_book", "name"), ("seen", "one")}


@pytest.mark.parametrize("database", DATABASES)
async def test_the_form_of_a_column_is_what_its_name_and_type_say(databases: Databases, database: DatabaseName) -> None:
    for (table, name), kind in (await _live(databases, database)).items():
        form = holding(database, table, name).form
        assert (form is Form.SEALED) == (name == "sealed" or name.endswith("_sealed")), f"{table}.{name}"
        if name.endswith(("_index", "_indexes")):
            assert form is Form.INDEX, f"{table}.{name}"
        if form in (Form.SEALED, Form.INDEX):
            assert kind == ("bytea[]" if name.endswith("_indexes") else "bytea"), f"{table}.{name}"
        if kind == "uuid":
            assert form in (Form.PSEUDONYM, Form.PLAIN), f"{table}.{name}"


def test_an_erasure_reaches_every_sealed_or_indexed_personal_value() -> None:
    reaching = {Erasure.DELETE_ROW, Erasure.DESTROY_KEY, Erasure.EMPTY}
    obeyed = {column.table for column in columns() if column.holding.erasure is Erasure.KEEP_OBJECTION}
    # Who objected is not recorded after an erasure either, nor called, nor after a restore.
    assert obeyed == {"unrecorded_numbers", "do_not_call", "kept_protections"}
    # Banned addresses are the operator's, of strangers, and go with their bans; receipts that are about nothing of ours go after a day,
    # and what a carrier says once it is carried out.
    lapsing = {column.table for column in columns() if column.holding.erasure is Erasure.LAPSE}
    assert lapsing == {"bans", "carrier_callbacks", "message_receipts"}
    for column in columns():
        if column.holding.is_personal and column.holding.form in (Form.SEALED, Form.INDEX) and column.table not in obeyed | lapsing:
            assert column.holding.erasure in reaching, column


def test_free_text_that_names_a_person_is_nowhere_plain() -> None:
    naming = re.compile(r"(^|_)(username|first_name|last_name|phone|email|address|number|extension|caller_id|contact)(_|$)")
    for column in columns():
        if column.holding.is_personal and column.holding.form is Form.PLAIN:
            assert not naming.search(column.name) or column.name == "number_class", column


def test_content_lies_in_the_organisations_region_and_files_in_known_folders() -> None:
    places = {name for name in dir(Folders) if not name.startswith("_")} | {f"zone2/{name}" for name in dir(Zone2)}
    for kind in blob_kinds():
        assert kind.place in places, kind.name
        if kind.place == "store":
            assert kind.holding.residency is Residency.ORGANISATION
            assert kind.holding.form is Form.SEALED
    assert len({kind.name for kind in blob_kinds()}) == len(blob_kinds())


def test_personal_columns_of_a_table_are_listed() -> None:
    names = {column.name for column in personal_columns("main", "calls")}
    assert {"remote_sealed", "remote_index", "local_sealed"} <= names
    assert personal_columns("main", "nodes") == ()
    with pytest.raises(KeyError):
        inventory.holding("main", "calls", "nothing")
