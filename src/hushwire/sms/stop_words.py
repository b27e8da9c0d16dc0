"""The words and sentences by which people ask for no more messages, language by language, in normalised text (sms/keywords.py)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Language:
    """Whole messages that mean stop, start and help, and sentences that mean stop: of normalised text."""

    stop: frozenset[str]
    start: frozenset[str]
    help: frozenset[str]
    sentences: re.Pattern[str]
    courtesies: frozenset[str]


_MANY: Final = r"(?: \w+){0,4}"


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split("|") if word.strip())


def _sentences(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?:{pattern})" for pattern in patterns))


_NEVER: Final = re.compile(r"(?!)")
_TEXTS: Final = (
    r"(?:text|texts|texting|txt|txts|message|messages|messaging|sms|spam|ads?|advertising|marketing|notifications?|"
    r"alerts?|promos?|promotions?|offers?)"
)
ALWAYS: Final = Language(
    stop=_words("stop|stopall|stop all|unsubscribe|cancel|end|quit|revoke|optout|opt out"),
    start=_words("start|unstop|optin|opt in"),
    help=_words("help|info"),
    sentences=_NEVER,
    courtesies=_words("please|pls|plz|thanks|thx|ok|okay|now|hi|hello|hey"),
)
LANGUAGES: Final[Mapping[str, Language]] = {
    "en": Language(
        stop=_words(
            "stop it|stop this|stop now|stop texts|stop texting|stop messages|stop sms|stop sending|remove|remove me|"
            "unsubscribe me|opt me out|no more"
        ),
        start=_words("subscribe|resume|restart"),
        help=_words("help me"),
        sentences=_sentences(
            r"^(?:\w+ ){0,3}(?:stop|quit|cease) (?:texting|messaging|contacting|spamming|bothering|harassing|"
            r"writing(?: to)?) (?:me|us|this number|my number|my phone)\b",
            rf"\bstop (?:sending|writing)(?: me| us)?(?: \w+){{0,3}} {_TEXTS}\b",
            rf"\bstop (?:(?:these|this|the|those|all|your|any|all your|all these|all the) ){{1}}(?:\w+ )?{_TEXTS}\b",
            r"\b(?:dont|do not|never) (?:ever )?(?:text|message|contact|sms|write(?: to)?) (?:me|us|this number)(?: (?:again|"
            r"anymore|any more|ever|ever again|please|thanks))*$",
            rf"\b(?:dont|do not) send (?:me |us )?(?:any ?more|any|more|these|your|further) (?:\w+ )?{_TEXTS}\b",
            r"\b(?:remove|take|delete|get) (?:me|us|my number|this number|my phone number) (?:from|off)(?: of)? (?:your|the|"
            r"this|all|any)\b(?: \w+){0,3} (?:list|lists|database|records|contacts|system)\b",
            r"\b(?:remove|take|delete|get) (?:me|us|my number|this number) (?:from|off)(?: of)? (?:your|this|the) (?:list|"
            r"lists|texts|messages)\b",
            r"\bunsubscribe (?:me|us|my number|this number|from)\b",
            r"\b(?:i|we) (?:want|wish|would like|d like|id like|need) to (?:unsubscribe|opt out|be removed|stop receiving)\b",
            r"\b(?:id|wed) like to (?:unsubscribe|opt out|be removed|stop receiving)\b",
            r"\bopt (?:me|us|this number|my number) out\b",
            r"\bopt(?:ing)? out of (?:these|your|all|the|this)\b",
            rf"^(?:\w+ )?no (?:more|further) (?:\w+ )?{_TEXTS}(?: please| thanks| thank you)?$",
            rf"\b(?:i|we) (?:no longer|dont|do not) (?:want|wish)(?: to (?:receive|get|see))?(?: any| any more| anymore| more|"
            rf" these| your| further)+ (?:\w+ )?{_TEXTS}\b",
            r"\b(?:revoke|withdraw|cancel) (?:my|our) consent\b",
            rf"^(?:please )?cancel (?:my subscription|(?:these|all|all these|your|the) {_TEXTS})$",
        ),
        courtesies=_words("thank|you|immediately|today|already|just|kindly|sir|madam|dear|and|so|much"),
    ),
    "de": Language(
        stop=_words(
            "stopp|abmelden|abmeldung|abbestellen|austragen|kundigen|kuendigen|ende|widerruf|widerrufen|beenden|abbrechen|"
            "keine sms|keine sms mehr|keine nachrichten mehr|keine werbung|keine werbung mehr|nicht mehr schreiben"
        ),
        start=_words("anmelden|starten"),
        help=_words("hilfe"),
        sentences=_sentences(
            r"\b(?:keine|keinerlei) (?:weiteren |weitere )?(?:sms|nachrichten|werbung|texte|mitteilungen|"
            r"werbe sms)(?: von ihnen| von euch)?(?: mehr)?(?: (?:bitte|danke|schicken|senden|erhalten|bekommen|haben|"
            r"zusenden|zuschicken))*$",
            r"\bmeld(?:en sie|e|et) mich(?: bitte)?(?: sofort| hiermit)? ab\b",
            r"\btrag(?:en sie|e|t) mich(?: bitte)? aus\b",
            r"\b(?:nehmen sie|nimm|nehmt|streichen sie|streich|loschen sie|losche|entfernen sie|entferne) (?:mich|"
            r"meine nummer)\b(?: bitte)?(?: \w+){0,4} (?:liste|verteiler|datenbank|kartei)\b",
            r"\b(?:loschen sie|losch|losche|loscht|entfernen sie) (?:bitte )?meine (?:handy ?|telefon ?|mobil ?)?nummer\b",
            rf"\b(?:schicken|senden|schreiben) sie mir(?: bitte)? (?:keine|nichts|nicht){_MANY} mehr\b",
            rf"\b(?:schick|schickt|sende|sendet|schreib|schreibt) mir(?: bitte)? (?:keine|nichts|nicht){_MANY} mehr\b",
            r"\b(?:horen sie|hor|hort|hoeren sie) (?:bitte )?(?:damit )?auf(?: damit)? mir (?:sms |nachrichten |"
            r"werbung )?zu (?:schreiben|schicken|senden|texten)\b",
            r"\bich (?:mochte|will|wunsche)(?: \w+)? keine (?:\w+ )?(?:sms|nachrichten|werbung|mitteilungen)\b",
            r"\b(?:kontaktieren|schreiben) sie mich (?:bitte )?nicht (?:mehr|weiter)\b",
            r"\bich widerrufe (?:hiermit )?(?:meine|die) (?:einwilligung|zustimmung)\b",
        ),
        courtesies=_words("bitte|danke|hallo|sofort|jetzt|vielen|dank|schon"),
    ),
    "fr": Language(
        stop=_words(
            "arret|arreter|arretez|desabonner|desabonnement|desinscrire|desinscription|resilier|stop sms|stop pub|annuler|"
            "fin|me desabonner|me desinscrire|plus de sms"
        ),
        start=_words("demarrer|reprendre|abonner"),
        help=_words("aide|aidez moi"),
        sentences=_sentences(
            r"\b(?:arretez|arrete|cessez|cesse) (?:de me |de m|de nous |de m )(?:envoyer|ecrire|contacter|spammer|harceler|"
            r"importuner|deranger)\b",
            r"\bne (?:me |m)(?:envoyez|ecrivez|contactez|envoie|ecris|contacte) plus\b",
            r"\bne menvoyez plus\b",
            r"\bje ne (?:veux|souhaite|desire) plus (?:recevoir|etre contacte|avoir|de)\b",
            r"\bje (?:veux|souhaite|voudrais|desire) (?:me desabonner|me desinscrire|etre retire|etre desinscrit)",
            r"\b(?:desabonnez|desinscrivez|retirez|enlevez|supprimez|desabonne|retire) moi\b",
            r"\b(?:supprimez|retirez|enlevez|effacez) mon numero\b",
            r"^plus (?:de|aucun) (?:sms|message|messages|publicite|pub)\b",
            r"\bje (?:retire|revoque) mon consentement\b",
        ),
        courtesies=_words("merci|svp|stp|bonjour|sil|vous|plait|te|tout|de|suite"),
    ),
    "es": Language(
        stop=_words(
            "baja|alto|parar|pare|paren|cancelar|fin|salir|detener|dar de baja|darme de baja|darse de baja|dame de baja|"
            "no mas|no mas mensajes|no mas sms"
        ),
        start=_words("alta|iniciar|empezar|comenzar"),
        help=_words("ayuda"),
        sentences=_sentences(
            r"\b(?:denme|deme|dame|darme|darnos|denos) de baja\b",
            r"\bno (?:me |nos )?(?:envien|envie|envies|manden|mande|mandes|escriban|escriba|escribas|contacten|contacte|"
            r"contactes)\b(?: \w+){0,2} mas\b",
            r"\bno (?:quiero|deseo|queremos)(?: recibir)?(?: mas)(?: \w+)? (?:mensajes|sms|textos|publicidad)\b",
            r"\bno (?:quiero|deseo) (?:recibir|que me (?:escriban|envien|manden|contacten))\b(?: \w+){0,2} (?:mensajes|sms|"
            r"textos|publicidad|mas)\b",
            r"\b(?:dejen|deje|deja|paren|pare) de (?:enviarme|mandarme|escribirme|contactarme|molestarme|enviar|mandar)\b",
            r"\b(?:borren|borre|eliminen|elimine|quiten|quite|saquen|saque) mi (?:numero|telefono)\b",
            r"\b(?:saquenme|quitenme|borrenme|eliminenme) de (?:su|la|esta) lista\b",
            r"\b(?:revoco|retiro) mi consentimiento\b",
        ),
        courtesies=_words("por|favor|gracias|hola|ya"),
    ),
    "it": Language(
        stop=_words(
            "basta|ferma|fermare|fermate|annulla|annullare|cancella|cancellare|cancellami|fine|disiscrivi|disiscrivimi|"
            "disiscrizione|disiscrivetemi|cancellatemi|basta sms|basta messaggi|revoca"
        ),
        start=_words("inizia|avvia|riprendi|iscrivimi"),
        help=_words("aiuto|assistenza"),
        sentences=_sentences(
            r"\b(?:smettete|smettila|smetta|smetti|smettetela|finitela) di (?:scrivermi|mandarmi|inviarmi|contattarmi|"
            r"disturbarmi|tormentarmi)\b",
            r"\bnon (?:scrivetemi|mandatemi|inviatemi|contattatemi|scrivermi|mandarmi|inviarmi|contattarmi|scrivete|mandate|"
            r"inviate)(?: \w+){0,2} piu\b",
            r"\bnon (?:mi )?(?:scrivete|mandate|inviate|contattate)(?: \w+){0,2} piu\b",
            r"\bnon (?:voglio|desidero) (?:piu )?(?:ricevere )?(?:piu |altri |i )?(?:vostri )?(?:sms|messaggi|pubblicita)\b",
            r"\b(?:toglietemi|rimuovetemi|cancellatemi|toglimi|cancellami) (?:dalla|da) \w+(?: \w+)?\b",
            r"\b(?:cancellate|rimuovete|eliminate) il mio numero\b",
            r"\brevoco il (?:mio )?consenso\b",
        ),
        courtesies=_words("per|favore|grazie|ciao|salve|subito|cortesia"),
    ),
    "pt": Language(
        stop=_words("parar|pare|parem|sair|cancelar|descadastrar|remover|fim|chega"),
        start=_words("iniciar|comecar|voltar"),
        help=_words("ajuda"),
        sentences=_sentences(
            r"\b(?:parem|pare|para) de (?:me )?(?:enviar|mandar|escrever|contatar|contactar|incomodar)\b",
            r"\bnao (?:me )?(?:enviem|envie|mandem|mande|escrevam|escreva)(?: \w+){0,2} mais\b",
            r"\bnao quero (?:mais receber|receber mais|mais)(?: \w+)? (?:mensagens|sms|mensagem)\b",
            r"\b(?:remova|remover|retire|retirem|removam|exclua|excluam) (?:me|meu numero|o meu numero)\b",
            r"\b(?:revogo|retiro) (?:o )?meu consentimento\b",
        ),
        courtesies=_words("por|favor|obrigado|obrigada|ola|ja"),
    ),
    "nl": Language(
        stop=_words("stoppen|afmelden|uitschrijven|einde|opzeggen|annuleren|geen sms|geen sms meer|geen berichten meer"),
        start=_words("aanmelden|starten|hervatten"),
        help=_words("hulp"),
        sentences=_sentences(
            r"\b(?:stuur|stuurt|sturen)(?: u| jullie)? (?:mij|me)(?: alstublieft| aub)? (?:geen|niets)(?: \w+){0,2} meer\b",
            r"\bik wil (?:geen|niet)(?: \w+)? (?:sms|smsjes|berichten|berichtjes|reclame)(?: \w+){0,3} ?meer\b",
            r"\b(?:schrijf|meld) (?:mij|me)(?: aub| alstublieft)? (?:uit|af)\b",
            r"\b(?:verwijder|haal) (?:mij|me|mijn nummer)\b",
            r"\bik trek mijn toestemming in\b",
        ),
        courtesies=_words("alstublieft|aub|bedankt|dank|hallo|graag"),
    ),
    "tr": Language(
        stop=_words("dur|iptal|ret|red|durdur|cik|abonelikten cik|iptal et"),
        start=_words("basla|basla|abone ol"),
        help=_words("yardim"),
        sentences=_sentences(
            r"\b(?:mesaj|sms|reklam)(?:lar|larinizi|inizi)?(?: \w+)? istemiyorum\b",
            r"\b(?:mesaj|sms|reklam)(?: \w+)? (?:gondermeyin|atmayin|yollamayin)\b",
            r"\b(?:beni|numarami) (?:listeden|listenizden) (?:cikarin|silin)\b",
        ),
        courtesies=_words("lutfen|tesekkurler|artik|merhaba"),
    ),
    "pl": Language(
        stop=_words("wypisz|wypisz mnie|rezygnuje|koniec|anuluj|przestan|przestancie"),
        start=_words("zapisz|wznow"),
        help=_words("pomoc"),
        sentences=_sentences(
            r"\b(?:prosze )?(?:nie|juz nie) (?:wysylajcie|wysylaj|wysylac|piszcie|pisz|pisac)(?: \w+){0,3} (?:wiecej|juz|"
            r"smsow|wiadomosci)\b",
            r"\b(?:prosze )?(?:wypisac|wypisz|wypiszcie|usunac|usuncie) (?:mnie|moj numer)\b",
            r"\bnie (?:chce|zycze sobie)(?: \w+){0,2} (?:smsow|wiadomosci|sms)\b",
        ),
        courtesies=_words("prosze|dziekuje|witam"),
    ),
}  # fmt: skip
