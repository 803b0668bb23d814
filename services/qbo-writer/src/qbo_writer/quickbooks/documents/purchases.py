"""What all vendor documents share: account lines, taxes."""

from bookrelay.messages import PurchaseContent

from qbo_writer.quickbooks.documents.form import Finder


async def refer(finder: Finder, content: PurchaseContent) -> None:
    """Find what every vendor document refers to, except the vendor."""
    await finder.accounts(line.account for line in content.lines)
    await finder.account("ap_account")
    await finder.taxes(content)
    await finder.heading(class_name=content.class_name, department=content.department)
