"""Who asks for no more messages is understood, however they put it; who says something else is not silenced."""

import pytest

from hushwire.sms.keywords import Keyword, keyword

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "tr", "pl")
STOPS = [
    "STOP", "stop", "Stop.", "  STOP!!!  ", "\"stop\"", "S\u200bTOP", "ＳＴＯＰ", "STOPALL", "Stop all", "unsubscribe", "Cancel",
    "END", "Quit!", "revoke", "OptOut", "opt-out", "Opt out please", "please STOP", "STOP STOP STOP", "Stop, thanks 🙏",
    "ok stop", "Please stop texting me", "stop sending me these messages", "Stop these texts!", "Don't text me again",
    "do not contact me anymore", "Take me off your list.", "Please remove my number from your mailing list",
    "unsubscribe me", "I want to opt out", "I'd like to unsubscribe from this", "No more messages please",
    "I don’t want any more texts", "I revoke my consent", "Cancel these messages", "Stopp!", "Abmelden bitte",
    "Keine SMS mehr!", "Bitte schicken Sie mir keine Nachrichten mehr", "Melden Sie mich bitte ab",
    "Ich widerrufe meine Einwilligung", "Nehmen Sie mich aus Ihrem Verteiler", "Hören Sie auf, mir zu schreiben", "ARRÊT",
    "Stop SMS svp", "Je ne veux plus recevoir vos messages", "Désabonnez-moi", "Arrêtez de m'envoyer des SMS",
    "Supprimez mon numéro", "BAJA", "Quiero darme de baja", "No me envíen más mensajes", "Dejen de escribirme por favor",
    "Basta!", "Cancellami", "Smettete di scrivermi", "Non voglio più ricevere messaggi", "Sair",
    "Parem de me enviar mensagens", "Afmelden", "Stuur mij geen berichten meer", "İPTAL", "Mesaj istemiyorum", "Wypisz mnie",
]  # fmt: skip
OTHERS = [
    "I can't stop laughing", "Don't stop!", "Please don't cancel my appointment", "Can you stop by at five?",
    "I'm at the bus stop", "Stop at the pharmacy on the way please", "When does the sale end?",
    "The end of the month suits me", "I quit smoking last year", "Cancel my order 123 and send me a new one",
    "Please stop the delivery until Monday", "non-stop flight to Rome?", "Where do I opt in?", "I did not unsubscribe",
    "Could you send me more information?", "Do not text me the code, call me", "My card was stopped", "Das Ende der Straße",
    "Können Sie den Termin absagen?", "Ich habe keine Nachricht bekommen", "Wann ist die Haltestelle Stop offen?",
    "C'est la fin du film", "Je ne peux plus venir demain", "Quiero más información", "El fin de semana estoy libre",
    "Basta così per oggi, grazie mille", "ok", "", "👍", "12345", "yes", "thanks",
]  # fmt: skip


def test_all_of_these_mean_stop() -> None:
    meant = {text: found.keyword if (found := keyword(text, LANGUAGES)) else None for text in STOPS}
    assert [text for text, found in meant.items() if found is not Keyword.STOP] == []


def test_none_of_these_means_stop_or_anything_else() -> None:
    assert [text for text in OTHERS if keyword(text, LANGUAGES) is not None] == []


@pytest.mark.parametrize(("text", "meant"), [
    ("START", Keyword.START), ("unstop", Keyword.START), ("Start please", Keyword.START), ("Anmelden", Keyword.START),
    ("Alta", Keyword.START),
    ("HELP", Keyword.HELP), ("Hilfe!", Keyword.HELP), ("info", Keyword.HELP), ("ayuda", Keyword.HELP), ("stop start", None),
])  # fmt: skip
def test_start_and_help_are_whole_messages(text: str, meant: Keyword | None) -> None:
    found = keyword(text, LANGUAGES)
    assert (None if found is None else found.keyword) is meant


def test_the_words_of_carriers_hold_in_every_language_and_other_words_where_their_language_is_configured() -> None:
    for word in ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "START", "HELP"):
        assert keyword(word, ()) is not None
        assert keyword(word, ("xx",)) is not None
    assert keyword("Abmelden", ("en",)) is None
    found = keyword("Abmelden", ("en", "de"))
    assert found is not None
    assert found.language == "de"


def test_a_long_text_is_read_in_time() -> None:
    assert keyword("stop sending " * 3000, LANGUAGES) is None
    assert keyword("x " * 50_000, LANGUAGES) is None
