"""TLS for the connections to Kafka and Postgres: loads the files, and reports a problem by the name of the setting."""

import ssl
from pathlib import Path

from bookrelay.errors import Code, SettingsError


def cannot_read(path: str) -> str | None:
    """Return why a file cannot be read, like "it does not exist"; None if it can."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return "it does not exist"
    except OSError as error:
        return (error.strerror or "it cannot be read").lower()
    return None


def trusting(ca_file: str, setting: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in `ca_file` (PEM), or the system's if it is empty.

    Certificate and host name are verified. Raises SettingsError, naming `setting`, if the file contains no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (ssl.SSLError, ValueError):
        why = f"{setting}: {ca_file} contains no certificate in PEM format (-----BEGIN CERTIFICATE-----)."
        raise SettingsError(
            why, "Set it to the file of the authority (CA) that signed the server's certificate.", Code.VALIDATION
        ) from None


def identify(context: ssl.SSLContext, certificate_file: str, key_file: str, password: str, prefix: str) -> None:
    """Load a client certificate into `context`. The settings are called `<prefix>_CERTIFICATE_FILE` and so on.

    With an empty `key_file` the key is in the certificate's file. Raises SettingsError that names the setting.
    """
    asked = False

    def give() -> str:
        nonlocal asked
        asked = True
        return password

    name = f"{prefix}_KEY_FILE" if key_file else f"{prefix}_CERTIFICATE_FILE"
    try:
        context.load_cert_chain(certificate_file, key_file or None, give)
    except (ssl.SSLError, ValueError) as error:
        if asked:
            state = "wrong" if password else "missing"
            why = f"the key in {key_file or certificate_file} is encrypted, and {prefix}_KEY_PASSWORD is {state}."
            raise SettingsError(why, f"Set {prefix}_KEY_PASSWORD.", Code.VALIDATION) from None
        if "KEY_VALUES_MISMATCH" in str(error):
            why = f"{name}: the key does not match the certificate in {certificate_file}."
        else:
            why = f"{prefix}_CERTIFICATE_FILE, {prefix}_KEY_FILE: no certificate and key in PEM format in {certificate_file}"
            why += f" and {key_file}." if key_file else "."
        raise SettingsError(why, "Use PEM files; the key may be in the certificate's file.", Code.VALIDATION) from None
