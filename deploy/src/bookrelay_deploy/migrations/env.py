"""Alembic's environment. It uses the connection passed by `bookrelay_deploy.migrating`, for one schema."""

from alembic import context

attributes = context.config.attributes
schema = attributes["schema"]


def include_name(name: str | None, type_: str, _: object) -> bool:
    """Include only the service's own schema."""
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
