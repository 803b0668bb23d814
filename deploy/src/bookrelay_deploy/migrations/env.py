"""Alembic's environment. It runs on the connection that `bookrelay_deploy.migrating` hands over, for one schema."""

from alembic import context

attributes = context.config.attributes
schema = attributes["schema"]


def include_name(name: str | None, type_: str, _: object) -> bool:
    """Look at the service's own schema only."""
    return name == schema if type_ == "schema" else True


context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    version_table_schema=schema,
    include_schemas=True,
    include_name=include_name,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
