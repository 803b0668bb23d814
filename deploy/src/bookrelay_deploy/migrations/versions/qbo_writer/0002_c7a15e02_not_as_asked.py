"""discrepancies: by how much, and what was asked"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0002_c7a15e02'
down_revision = '0001_d0aa27a9'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('discrepancies', sa.Column('amount', sa.Numeric(precision=15, scale=2), nullable=True), schema='qbo_writer')
    op.add_column('discrepancies', sa.Column('asked', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True), schema='qbo_writer')
