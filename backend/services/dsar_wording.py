"""What this application's sections are called, and what Art. 15 wants told of them, by language."""

from __future__ import annotations

from typing import Final

from backend.services.sections import Facts
from backend.services.wording import Text, Wording

_NO_TRANSFER: Final[Text] = {"en": "none", "de": "keine"}
_NOBODY: Final[Text] = {"en": "none", "de": "niemand"}
_THE_PERSON: Final[Text] = {"en": "the data subject", "de": "die betroffene Person"}
_NO_MACHINE: Final[Text] = {"en": "none", "de": "keine"}

ACCOUNT_FACTS: Final = Facts(
    purpose={
        "en": "to provide the account and to bill for it",
        "de": "um das Konto bereitzustellen und abzurechnen",
    },
    categories={
        "en": "identity and contact details, preferences, billing, sign-ins",
        "de": "Angaben zur Person und Kontaktdaten, Einstellungen, Abrechnung, Anmeldungen",
    },
    recipients={
        "en": "hosting and payment processors",
        "de": "Auftragsverarbeiter für Hosting und Zahlungen",
    },
    retention={
        "en": "while the account exists, and ten years for what tax law requires",
        "de": "solange das Konto besteht; was das Steuerrecht verlangt, zehn Jahre",
    },
    source=_THE_PERSON,
    automated_decisions=_NO_MACHINE,
    transfers=_NO_TRANSFER,
)
ACCOUNT: Final = Wording(
    title={"en": "Your account", "de": "Ihr Konto"},
    description={
        "en": "What you told us about yourself, and how you use your account.",
        "de": "Was Sie uns über sich mitgeteilt haben und wie Sie Ihr Konto nutzen.",
    },
    labels={
        "preferences": {"en": "Preferences", "de": "Einstellungen"},
        "monthly_spend_eur": {"en": "Spent per month", "de": "Ausgaben im Monat"},
        "totp_secret": {"en": "Two-factor secret", "de": "Geheimnis der Zwei-Faktor-Anmeldung"},
        "last_login_ip": {
            "en": "Network address of the last sign-in",
            "de": "Netzwerkadresse der letzten Anmeldung",
        },
    },
    units={"monthly_spend_eur": "€"},
)

WORKFLOWS_FACTS: Final = Facts(
    purpose={
        "en": "to run the automations that the person built",
        "de": "um die Automatisierungen auszuführen, die die Person gebaut hat",
    },
    categories={
        "en": "content that the person wrote, connected accounts",
        "de": "Inhalte, die die Person verfasst hat, verbundene Konten",
    },
    recipients={
        "en": "the services that the person connected",
        "de": "die Dienste, die die Person verbunden hat",
    },
    retention={
        "en": "until the person deletes them, and 30 days after",
        "de": "bis die Person sie löscht, und 30 Tage darüber hinaus",
    },
    source=_THE_PERSON,
    automated_decisions=_NO_MACHINE,
    transfers={
        "en": "to where the services are that the person connected, at the person's own request "
        "(GDPR Art. 49(1)(b))",
        "de": "dorthin, wo die Dienste sind, die die Person verbunden hat, auf deren eigenen "
        "Wunsch (Art. 49 Abs. 1 Buchst. b DSGVO)",
    },
)
WORKFLOWS: Final = Wording(
    title={"en": "Your workflows", "de": "Ihre Abläufe"},
    description={
        "en": "The automations that you built, deleted ones included as long as they are kept.",
        "de": "Die Automatisierungen, die Sie gebaut haben; gelöschte, solange es sie noch gibt.",
    },
    labels={
        "definition": {"en": "What it does", "de": "Was er tut"},
        "is_active": {"en": "Switched on", "de": "Eingeschaltet"},
    },
)

WORKFLOW_RUNS_FACTS: Final = Facts(
    purpose={
        "en": "to run the automations, to show their history and to bill for them",
        "de": "um die Automatisierungen auszuführen, ihren Verlauf zu zeigen und sie abzurechnen",
    },
    categories={
        "en": "use of the service, the content that was processed, billing",
        "de": "Nutzung des Dienstes, verarbeitete Inhalte, Abrechnung",
    },
    recipients=WORKFLOWS_FACTS.recipients,
    retention={"en": "13 months", "de": "13 Monate"},
    source={
        "en": "the data subject, and the services that they connected",
        "de": "die betroffene Person und die Dienste, die sie verbunden hat",
    },
    automated_decisions=_NO_MACHINE,
    transfers=WORKFLOWS_FACTS.transfers,
)
WORKFLOW_RUNS: Final = Wording(
    title={"en": "Runs of your workflows", "de": "Ausführungen Ihrer Abläufe"},
    description={
        "en": "Each time that one of your workflows ran, with what went in and what came out.",
        "de": "Jede Ausführung eines Ihrer Abläufe, mit dem, was hineinging und herauskam.",
    },
    labels={
        "workflow_id": {"en": "Number of the workflow", "de": "Nummer des Ablaufs"},
        "trigger": {"en": "Started by", "de": "Ausgelöst durch"},
        "payload": {"en": "Input and output", "de": "Ein- und Ausgabe"},
        "error": {"en": "Error", "de": "Fehler"},
        "cost_eur": {"en": "Cost", "de": "Kosten"},
    },
    units={"cost_eur": "€"},
)

API_TOKENS_FACTS: Final = Facts(
    purpose={
        "en": "to let the person's own programs in",
        "de": "um den eigenen Programmen der Person Zugang zu geben",
    },
    categories={"en": "access rights, use of the service", "de": "Zugriffsrechte, Nutzung"},
    recipients=_NOBODY,
    retention={
        "en": "until revoked, and 90 days after",
        "de": "bis zum Widerruf, und 90 Tage darüber hinaus",
    },
    source=_THE_PERSON,
    automated_decisions=_NO_MACHINE,
    transfers=_NO_TRANSFER,
)
API_TOKENS: Final = Wording(
    title={"en": "Keys for your programs", "de": "Schlüssel für Ihre Programme"},
    description={
        "en": "The keys (API tokens) with which programs of yours sign in.",
        "de": "Die Schlüssel (API-Tokens), mit denen Ihre Programme sich anmelden.",
    },
    labels={
        "prefix": {"en": "Begins with", "de": "Beginnt mit"},
        "scopes": {"en": "Is allowed to", "de": "Darf"},
        "last_used_at": {"en": "Last used", "de": "Zuletzt benutzt"},
        "revoked_at": {"en": "Revoked", "de": "Widerrufen"},
        "token_hash": {"en": "The key itself (encoded)", "de": "Der Schlüssel selbst (kodiert)"},
    },
)

AUDIT_LOGS_FACTS: Final = Facts(
    purpose={
        "en": "to secure the service and to account for what was done in it",
        "de": "um den Dienst zu sichern und nachzuweisen, was darin geschah",
    },
    categories={
        "en": "actions in the service, network addresses, browsers",
        "de": "Handlungen im Dienst, Netzwerkadressen, Browser",
    },
    recipients=_NOBODY,
    retention={"en": "24 months", "de": "24 Monate"},
    source={"en": "the service's own operation", "de": "der Betrieb des Dienstes selbst"},
    automated_decisions=_NO_MACHINE,
    transfers=_NO_TRANSFER,
)
AUDIT_LOGS: Final = Wording(
    title={"en": "Log of actions", "de": "Protokoll der Handlungen"},
    description={
        "en": "What you did in the service, and what others did to your account.",
        "de": "Was Sie im Dienst getan haben und was andere an Ihrem Konto getan haben.",
    },
    labels={
        "actor_user_id": {"en": "Who did it", "de": "Wer es tat"},
        "subject_user_id": {"en": "To whom", "de": "Bei wem"},
        "action": {"en": "Action", "de": "Handlung"},
        "details": {"en": "Details", "de": "Einzelheiten"},
        "created_at": {"en": "When", "de": "Wann"},
    },
)

DSAR_REQUEST_FACTS: Final = Facts(
    purpose={
        "en": "to answer the request and to account for it (GDPR Art. 12, 5(2))",
        "de": "um die Anfrage zu beantworten und das nachzuweisen (Art. 12, 5 Abs. 2 DSGVO)",
    },
    categories={"en": "the request and its answer", "de": "die Anfrage und ihre Beantwortung"},
    recipients=_NOBODY,
    retention={"en": "three years after the answer", "de": "drei Jahre nach der Antwort"},
    source=_THE_PERSON,
    automated_decisions=_NO_MACHINE,
    transfers=_NO_TRANSFER,
)
DSAR_REQUEST: Final = Wording(
    title={"en": "This request", "de": "Diese Anfrage"},
    description={
        "en": "The request that this copy answers.",
        "de": "Die Anfrage, die mit dieser Kopie beantwortet wird.",
    },
    labels={
        "user_id": {"en": "Your identifier", "de": "Ihre Kennung"},
        "gdpr_reference_id": {"en": "Reference", "de": "Zeichen"},
        "requested_at": {"en": "Received", "de": "Eingegangen"},
        "completed_at": {"en": "First answered", "de": "Zuerst beantwortet"},
        "extended_at": {"en": "Deadline extended", "de": "Frist verlängert"},
        "extension_months": {"en": "Months of extension", "de": "Verlängerung in Monaten"},
        "extension_reason": {"en": "Reason of the extension", "de": "Grund der Verlängerung"},
        "held_at": {"en": "Held since", "de": "Angehalten seit"},
        "held_seconds": {"en": "Held so far, seconds", "de": "Bisher angehalten, Sekunden"},
        "hold_reason": {"en": "Reason of the hold", "de": "Grund des Anhaltens"},
        "delivered_at": {"en": "Handed over", "de": "Übergeben"},
        "legal_hold_at": {"en": "Kept for a legal claim since", "de": "Aufbewahrt seit"},
        "legal_hold_reason": {"en": "Reason of the keeping", "de": "Grund der Aufbewahrung"},
    },
)
