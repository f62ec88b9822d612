"""What a whole database holds, to compare it with another."""

from sqlalchemy import MetaData, create_engine


def rows_of(url: str) -> dict[str, list[str]]:
    """Every row of every table, in one order."""
    engine, tables = create_engine(url), MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        found = {
            name: sorted(map(repr, connection.execute(table.select())))
            for name, table in tables.tables.items()
        }
    engine.dispose()
    return found
