"""feed paging"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0003_f0a71c2e'
down_revision = '0002_c7a15e02'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'realms',
        sa.Column('feed_paging', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
        schema='qbo_writer',
    )
    op.add_column('realms', sa.Column('feed_asked_at', sa.DateTime(timezone=True), nullable=True), schema='qbo_writer')
