"""What is answered to who asks for no more messages, for messages again, or for help: one part of the plain alphabet each."""

from collections.abc import Mapping, Sequence
from typing import Final

from hushwire.sms.keywords import Found, Keyword
from hushwire.sms.text.encoding import PLAIN, choose, part_count
from hushwire.sms.text.folding import folded

OPT_OUT: Final = "system:opt-out"
"""Who lists and answers: `do_not_call.added_by`, `messages.sent_by`."""
_LONGEST_NAME: Final = 40

_TEXTS: Final[Mapping[str, Mapping[Keyword, str]]] = {
    "en": {
        Keyword.STOP: "{name}: you will get no more messages from us. Reply START to get them again.",
        Keyword.START: "{name}: you will get messages again. Reply STOP to end them.",
        Keyword.HELP: "{name}: reply STOP for no more messages, START to get them again.",
    },
    "de": {
        Keyword.STOP: "{name}: Sie erhalten keine Nachrichten mehr von uns. Mit START erhalten Sie sie wieder.",
        Keyword.START: "{name}: Sie erhalten wieder Nachrichten. Mit STOP beenden Sie sie.",
        Keyword.HELP: "{name}: STOP beendet die Nachrichten, START beginnt sie wieder.",
    },
    "fr": {
        Keyword.STOP: "{name} : vous ne recevrez plus de messages de notre part. Envoyez START pour en recevoir à nouveau.",
        Keyword.START: "{name} : vous recevrez à nouveau des messages. Envoyez STOP pour y mettre fin.",
        Keyword.HELP: "{name} : envoyez STOP pour ne plus recevoir de messages, START pour en recevoir à nouveau.",
    },
    "es": {
        Keyword.STOP: "{name}: no le enviaremos mas mensajes. Responda START para volver a recibirlos.",
        Keyword.START: "{name}: vuelve a recibir mensajes. Responda STOP para no recibirlos.",
        Keyword.HELP: "{name}: responda STOP para no recibir mas mensajes, START para recibirlos de nuevo.",
    },
    "it": {
        Keyword.STOP: "{name}: non riceverà più messaggi da noi. Risponda START per riceverli di nuovo.",
        Keyword.START: "{name}: riceverà di nuovo messaggi. Risponda STOP per non riceverli.",
        Keyword.HELP: "{name}: risponda STOP per non ricevere più messaggi, START per riceverli di nuovo.",
    },
    "pt": {
        Keyword.STOP: "{name}: nao lhe enviaremos mais mensagens. Responda START para voltar a receber.",
        Keyword.START: "{name}: volta a receber mensagens. Responda STOP para parar.",
        Keyword.HELP: "{name}: responda STOP para nao receber mais mensagens, START para voltar a receber.",
    },
    "nl": {
        Keyword.STOP: "{name}: u krijgt geen berichten meer van ons. Antwoord START om ze weer te krijgen.",
        Keyword.START: "{name}: u krijgt weer berichten. Antwoord STOP om te stoppen.",
        Keyword.HELP: "{name}: antwoord STOP voor geen berichten meer, START om ze weer te krijgen.",
    },
    "tr": {
        Keyword.STOP: "{name}: size artik mesaj gondermeyecegiz. Yeniden almak icin START yazin.",
        Keyword.START: "{name}: yeniden mesaj alacaksiniz. Durdurmak icin STOP yazin.",
        Keyword.HELP: "{name}: mesaj almamak icin STOP, yeniden almak icin START yazin.",
    },
    "pl": {
        Keyword.STOP: "{name}: nie wyslemy wiecej wiadomosci. Odpisz START, aby znow je otrzymywac.",
        Keyword.START: "{name}: znow bedziesz otrzymywac wiadomosci. Odpisz STOP, aby zakonczyc.",
        Keyword.HELP: "{name}: odpisz STOP, aby nie otrzymywac wiadomosci, START, aby znow je otrzymywac.",
    },
}


def reply(found: Found, languages: Sequence[str], organisation: str) -> str:
    """The answer, in the language that was written, else in the first of the organisation's."""
    code = found.language or next((each for each in languages if each in _TEXTS), "en")
    text = _TEXTS.get(code, _TEXTS["en"])[found.keyword]
    name = folded(organisation).strip()[:_LONGEST_NAME]
    if choose(name) is not PLAIN:
        name = "".join(character for character in name if PLAIN.units(character) is not None).strip()
    whole = text.format_map({"name": name or "hushwire"})
    return whole if part_count(whole, PLAIN) == 1 else text.format_map({"name": name[:11]})
