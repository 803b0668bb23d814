"""Whether a refusal concerns one request, or the whole company: a harmless read tells."""

from bookrelay.errors import HaltError

from qbo_writer.domain import (
    AccessToken,
    LookupFailed,
)
from qbo_writer.protocol.parts import Parts


class Serving:
    """Asks for one company."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts

    async def refused_alone(self, error: HaltError | LookupFailed, token: AccessToken) -> LookupFailed:
        """A read was refused: return why, where a harmless read is answered as usual. Then it concerns that read alone.

        Else raise what holds for the company: HaltError where it is cut off, LookupFailed where nothing can be said now.
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
        """Whether a harmless request gets no sound answer, either: then the company is cut off, not ten documents wrong.

        `of_reads`: two of them, for what the documents could not read may have been the first.
        """
        for number in range(1 + of_reads):
            try:
                await self.parts.books.harmless(self.realm, token, number)
            except LookupFailed as error:
                if error.definite:
                    continue
            return False  # served; or nobody answers: QuickBooks is away, and that passes
        return True

    @staticmethod
    def refused_to_all(error: LookupFailed) -> HaltError:
        """Return the halt where every read is refused."""
        return HaltError(
            f"QuickBooks refuses every read. {error}",
            "Look at the firewall or proxy before it, and at Intuit's status page. Posting resumes automatically.",
        )
