"""The mail server that the configuration names, or none."""

import ssl

from hushwire.app.config import Config
from hushwire.core.errors import ConfigError
from hushwire.services.mailer import MailServer


def mail_server(config: Config) -> MailServer | None:
    """What notices are sent by; None: they stay in the outbox. Raises ConfigError for a file of authorities that can't be used."""
    mail = config.mail
    if mail.smtp is None:
        return None
    sender = mail.sender or f"notices@{config.sip.domain}"
    try:
        return MailServer.of(mail.smtp, sender, mail.password, str(mail.authorities) if mail.authorities else None)
    except ssl.SSLError:
        raise ConfigError("[mail] authorities: holds no PEM certificate: name the authority of the mail server's certificate") from None
    except OSError as error:
        raise ConfigError(f"[mail] authorities: can't be read ({error.strerror}): the user that [run] user names must be able to") from None
