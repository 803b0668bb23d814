"""Whether a refusal concerns one request or the whole company, checked with a harmless read."""

from bookrelay.errors import HaltError

from qbo_writer.domain import (
    AccessToken,
    LookupFailed,
)
from qbo_writer.protocol.parts import Parts


class Serving:
    """Checks for one company."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts

    async def refused_alone(self, error: HaltError | LookupFailed, token: AccessToken) -> LookupFailed:
        """A read was refused: return why, if a harmless read succeeds. Then the refusal concerns that read alone.

        Else raise what applies to the company: HaltError if it is not served, LookupFailed if that is unknown.
        """
        refusal = error if isinstance(error, LookupFailed) else error.__cause__
        if not isinstance(refusal, LookupFailed):
            raise error
        if refusal is error and not error.definite:
            raise error
        try:
            await self.parts.books.harmless(self.realm, token)
        except LookupFailed as other:
            raise (refusal if refusal is error else other) from None
        return refusal

    async def strange_to_all(self, token: AccessToken, *, of_reads: bool = False) -> bool:
        """Whether a harmless request is refused, too: then the company is not served, and the documents are not at fault.

        `of_reads`: try two of them, because the documents may have failed at the first.
        """
        for number in range(1 + of_reads):
            try:
                await self.parts.books.harmless(self.realm, token, number)
            except LookupFailed as error:
                if error.definite:
                    continue
            return False  # served; or no answer: QuickBooks is down, which is transient
        return True

    @staticmethod
    def refused_to_all(error: LookupFailed) -> HaltError:
        """Return the halt for a company whose reads are all refused."""
        return HaltError(
            f"QuickBooks refuses every read. {error}",
            "Check the firewall or proxy in between, and Intuit's status page. Posting resumes automatically.",
        )
