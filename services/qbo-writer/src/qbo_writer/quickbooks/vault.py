"""Encryption at rest: tokens are stored encrypted with Fernet."""

from bookrelay.errors import Code, HaltError, SettingsError
from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Vault:
    """Fernet at rest. The first key encrypts, every key decrypts: add a new key in front, remove the old one later."""

    def __init__(self, keys: str) -> None:
        parts = [part.strip() for part in keys.split(",") if part.strip()]
        if not parts:
            raise SettingsError(
                "QBO_TOKEN_ENCRYPTION_KEYS is missing.",
                'Make a key: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())".',
            )
        try:
            self._first, self._all = Fernet(parts[0]), MultiFernet([Fernet(part) for part in parts])
        except ValueError:
            raise SettingsError(
                "QBO_TOKEN_ENCRYPTION_KEYS has an entry that is not a Fernet key.", "A key has 44 characters of base64."
            ) from None

    def seal(self, text: str) -> str:
        """Encrypt with the first key."""
        return self._first.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt with the key that fits."""
        try:
            return self._all.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise HaltError(
                "The stored tokens cannot be decrypted with QBO_TOKEN_ENCRYPTION_KEYS.",
                "Add the key that encrypted them to the list again, or connect again: qbo-writer auth login.",
                Code.OAUTH_FAILED,
            ) from None

    def is_current(self, sealed: str) -> bool:
        """Whether the first key encrypted it."""
        try:
            self._first.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True
