"""What Alembic runs: the migrations, on the connection that `upgrade` hands over."""

from alembic import context

from adapters.sql import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
