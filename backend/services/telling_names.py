"""What the name of a column or a table tells: personal data, other people.

Names are taken apart (``lastLoginIP`` is last, login, ip) and each word, and each two or three
neighbours put together, looked up in the lists below: English, German, French and Spanish. A guess,
used to point things out and to draft a first ``sections.toml``; what is exported is decided by
declarations alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final


def listed(**languages: str) -> frozenset[str]:
    """Words by language, all of them looked for. A language more is a keyword more, in any list.

    Words are written as ``words`` gives them: in small letters, without accents, ``ae`` for ä.
    """
    return _words_in(" ".join(languages.values()))


def _words_in(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What looks personal wherever it stands.
PERSONAL: Final = listed(
    en="""
        email emails mail phone phones telephone tel mobile cell fax address addresses addr street
        postcode postal zip zipcode iban bic ssn passport nationality birth birthday birthdate born
        dob gender sex religion ethnicity salary ip ips ipaddr ipaddress inet useragent firstname
        lastname middlename surname forename fullname givenname familyname maidenname username login
        nickname displayname contactname customername clientname personname holdername recipientname
        sendername authorname ownername employeename billingname shippingname session cookie
        deviceid latitude longitude lat lng gps geolocation nationalid twitterhandle
        avatar photo portrait diagnosis vatid taxid cardnumber accountnumber
    """,
    de="""
        telefon telefonnr handy handynr mobil mobilnr mobiltelefon faxnr anschrift adresse strasse
        hausnummer hausnr plz postleitzahl wohnort geburtsort geburtstag geburtsdatum gebdatum
        gebdat geburtsname geboren geschlecht konfession staatsangehoerigkeit staatsbuergerschaft
        nationalitaet familienstand anrede vorname vornamen nachname zuname familienname rufname
        benutzername nutzername anmeldename kundenname ansprechpartner empfaenger absender gehalt
        lohn steuernummer steuernr steuerid sozialversicherungsnummer svnr versichertennummer
        personalnummer personalausweis ausweisnummer reisepass kontonummer kontonr kontoinhaber
        bankverbindung diagnose befund unterschrift lichtbild foto breitengrad laengengrad
    """,
    fr="""
        courriel adresse rue codepostal prenom nomfamille nomdefamille telephone naissance
        datenaissance nationalite sexe salaire passeport diagnostic
    """,
    es="""
        correo direccion calle codigopostal apellido apellidos telefono movil celular nacimiento
        fechanacimiento nacionalidad sexo dni nif nie pasaporte salario sueldo
        diagnostico
    """,
)
# German puts words together: a word that ends in one of these tells as much.
_PERSONAL_ENDINGS: Final = (
    *("adresse", "anschrift", "strasse", "telefonnummer", "handynummer", "mobilnummer"),
    *("faxnummer", "vorname", "nachname", "geburtsdatum"),
)
# A plain "name" looks personal only in a table whose name says that people are in it.
NAMES: Final = listed(en="name", fr="nom", es="nombre")
PEOPLE: Final = listed(
    en="""
        user users person persons people customer customers client clients member members employee
        employees staff contact contacts patient patients student students guest guests lead leads
        author authors owner owners subscriber subscribers supplier suppliers applicant applicants
        candidate candidates tenant tenants driver drivers player players actor actors profile
        profiles
    """,
    de="""
        benutzer nutzer anwender kunde kunden mitglied mitglieder mitarbeiter angestellte personen
        kontakt kontakte patienten schueler studenten gast gaeste bewerber mieter fahrer spieler
        lieferant lieferanten ansprechpartner teilnehmer autor autoren abonnent abonnenten
        versicherte
    """,
    fr="""
        utilisateur utilisateurs personne personnes membre membres employe employes salarie salaries
        eleve eleves etudiant etudiants abonne abonnes fournisseur fournisseurs candidat candidats
        locataire locataires auteur auteurs adherent adherents
    """,
    es="""
        usuario usuarios cliente clientes persona personas miembro miembros socio socios empleado
        empleados contacto contactos paciente pacientes alumno alumnos estudiante estudiantes
        proveedor proveedores candidato candidatos inquilino inquilinos autores suscriptor
        suscriptores
    """,
)
# Each row of a table that has such a column is a person.
LIKE_A_PERSON: Final = listed(
    en="""
        email emails firstname lastname surname forename givenname familyname username login birth
        birthday birthdate dob
    """,
    de="vorname nachname familienname benutzername geburtstag geburtsdatum",
    fr="courriel prenom naissance",
    es="correo apellido apellidos nacimiento",
)
# Of these a team, a shop or a household has one, too.
ADDRESSED: Final = listed(en="email emails mail phone address", fr="courriel", es="correo")
# What several people share, or belong to.
TEAMS: Final = listed(
    en="""
        account accounts agency agencies association associations branch branches business
        businesses clinic clinics club clubs community communities company companies department
        departments family families firm firms group groups hospital hospitals household households
        institution institutions merchant merchants office offices org organisation organisations
        organization organizations orgs partner partners project projects school schools shop shops
        site sites space spaces store stores team teams tenant tenants workspace workspaces
    """,
    de="""
        abteilung abteilungen familie familien filiale filialen firma firmen gesellschaft gruppe
        gruppen haushalt haushalte mandant mandanten organisation organisationen projekt projekte
        schule schulen unternehmen verein vereine
    """,
    fr="""
        association associations ecole ecoles entreprise entreprises equipe equipes famille familles
        foyer foyers groupe groupes magasin magasins organisation organisations projet projets
        societe societes
    """,
    es="""
        empresa empresas equipo equipos escuela escuelas familia familias grupo grupos hogar hogares
        organizacion organizaciones proyecto proyectos sociedad sociedades tienda tiendas
    """,
)
# Who did something, rather than to whom it was done.
AUDIT: Final = listed(
    en="""
        audit audits auditlog log logs history histories event events activity activities journal
        trail version versions change changes revision revisions
    """,
    de="protokoll protokolle verlauf historie ereignis ereignisse aenderungen",
    fr="historique journaux evenement evenements",
    es="historial registro registros evento eventos",
)
ACTING: Final = listed(
    en="actor admin staff operator agent editor moderator by impersonator performer executor",
    de="bearbeiter sachbearbeiter von durch",
    fr="par",
    es="por",
)
CHANGING: Final = listed(
    en="updater modifier approver reviewer editor manager assigner",
)
_TYPES: Final = listed(en="type kind class model", de="typ art", fr="type", es="tipo")
# Who else a row may name; a number so called is a key.
WHOM: Final = listed(
    en="""
        author owner creator sender recipient receiver assignee assigner reviewer reporter approver
        requester buyer seller payer payee uploader participant invitee inviter referrer updater
        manager
    """,
    de="autor verfasser ersteller absender empfaenger kaeufer verkaeufer eigentuemer inhaber",
    fr="auteur createur expediteur destinataire acheteur vendeur proprietaire",
    es="creador remitente destinatario comprador vendedor propietario",
)
# Near a person, and another one all the same.
RELATED: Final = listed(
    en="""
        beneficiary emergency father guardian kin mother nominee referee referrer representative rep
        spouse witness
    """,
    de="bevollmaechtigter ehepartner mutter notfall vater vormund",
    fr="conjoint mere pere tuteur urgence",
    es="conyuge madre padre tutor emergencia",
)
# Named by an office or a relation; such a word alone names somebody.
OFFICES: Final = listed(
    en="""
        supervisor boss caseworker counselor counsellor adviser advisor consultant physician doctor
        therapist nurse teacher mentor instructor lawyer attorney solicitor landlord salesperson
        salesman salesrep dispatcher technician inspector auditor coordinator clerk deputy colleague
        coworker teammate roommate flatmate caregiver carer husband wife sibling brother sister
        daughter heir trustee handler registrar custodian steward liaison superuser sysadmin
        administrator responsible responsibleperson personincharge signatory supportrep accountrep
        servicerep customerrep teamlead teamleader
    """,
    de="""
        sachbearbeiter sachbearbeiterin bearbeiterin
        vorgesetzter vorgesetzte betreuer betreuerin berater beraterin arzt aerztin hausarzt lehrer
        lehrerin anwalt anwaeltin vermieter kollege kollegin stellvertreter pfleger erbe zeuge
        ehemann ehefrau ehegatte ansprechpartner notfallkontakt
    """,
    fr="superviseur responsable gestionnaire medecin avocat professeur collegue conseiller epoux",
    es="supervisor supervisora encargado encargada gerente medico abogado profesor asesor esposo",
)
# Before "to": whom something was given, or somebody answers to.
HANDED: Final = listed(
    en="""
        assigned reassigned allocated delegated escalated transferred forwarded reports report
        reporting reported handed referred routed passed granted shared addressed sent
    """
)
# What is written together: createdby, assignedto; operatorip, supervisorname.
_DONE_BY: Final = re.compile(rf"([a-z]+ed(?=by)|(?:{'|'.join(sorted(HANDED))})(?=to))(by|to)")
_ROLES_OWN: Final = re.compile(
    rf"({'|'.join(sorted(WHOM | OFFICES | RELATED | (ACTING - {'by', 'von', 'par', 'por'})))})"
    r"(name|email|mail|phone|telephone|mobile|ip|ipaddress|address)"
)
_ENDS_OF_KEYS: Final = listed(en="id uuid guid ref key no fk oid number", de="nr nummer", es="num")
_STARTS_OF_KEYS: Final = listed(en="id fk ref")
# Of one person; several are counted (``guests``).
_ONE: Final = listed(
    en="user customer member person client employee subscriber student patient",
    de="benutzer nutzer kunde mitglied mitarbeiter schueler",
    fr="utilisateur personne membre employe adherent",
    es="usuario cliente persona miembro empleado alumno",
)
# Where somebody's action came from.
ORIGIN: Final = listed(en="ip ips ipaddr ipaddress useragent inet host hostname", de="ipadresse")
# Says when something was, or will be.
TIMES: Final = listed(
    en="""
        at on date time day datetime timestamp created updated modified deleted expires expiry since
        until birthday birthdate dob born
    """,
    de="am datum zeit zeitpunkt geburtsdatum geburtstag seit bis",
    fr="heure naissance",
    es="fecha hora nacimiento",
)
# What a table that links two others may say beside their keys.
OF_A_LINK: Final = listed(
    en="""
        role roles kind type status state position order sort rank level admin owner active primary
        default
    """,
    de="rolle art typ rang stufe reihenfolge",
    fr="ordre rang niveau",
    es="rol tipo estado orden nivel",
)
# Tables of migration tools, of databases' extensions, and of this program.
BOOKKEEPING: Final = _words_in(
    """
    alembic_version django_migrations schema_migrations ar_internal_metadata flyway_schema_history
    databasechangelog databasechangeloglock knex_migrations knex_migrations_lock sequelizemeta
    _prisma_migrations goose_db_version __efmigrationshistory migrations phinxlog
    doctrine_migration_versions spatial_ref_sys sqlite_sequence
    """
)
OURS: Final = "dsar_"
_KEPT: Final = 1 << 16


def words(name: str) -> list[str]:
    """The words of a name, in small letters without accents: of ``lastLoginIP`` last, login, ip."""
    return list(_words(name))


# Names are asked for again and again: a schema may have tens of thousands of columns.
@lru_cache(_KEPT)
def _words(name: str) -> tuple[str, ...]:
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", _folded(name))
    return tuple(word.lower() for word in re.split(r"[^A-Za-z0-9]+", parted) if word)


def _folded(name: str) -> str:
    """A name in ASCII as far as it has such letters: ``ae`` for ä, ``ss`` for ß, ``e`` for é."""
    if name.isascii():
        return name
    parted = unicodedata.normalize("NFKD", name.translate(_UMLAUTS))
    return "".join(each for each in parted if not unicodedata.combining(each))


_UMLAUTS: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"}
)


@lru_cache(_KEPT)
def tells(name: str, listed: frozenset[str]) -> bool:
    """Whether a word of the name, or two or three neighbours together, are on the list."""
    found = words(name)
    pairs = [first + second for first, second in pairwise(found)]
    triples = [first + second for first, second in zip(pairs, found[2:], strict=False)]
    return any(word in listed for word in (*found, *pairs, *triples))


def looks_personal(table: str, column: str) -> bool:
    """Whether a column looks as if it held something about a person."""
    if tells(column, PERSONAL) or any(word.endswith(_PERSONAL_ENDINGS) for word in words(column)):
        return True
    return bool(NAMES.intersection(words(column)[-1:])) and tells(table, PEOPLE)


def names_a_person(column: str) -> bool:
    """Whether a column is called as one with a person's key: ``author_id``, ``created_by``."""
    found = apart(column)
    last = found[-1] if found else ""
    if len(found) > 1 and last in _ENDS_OF_KEYS:
        return found[-2] in PEOPLE | ACTING | WHOM | OFFICES or is_handed(found[:-1])
    if len(found) > 1 and found[0] in _STARTS_OF_KEYS:
        return last in PEOPLE | WHOM
    if found == [last] and last in _ONE:
        return True
    if len(found) > 1 and (last == "by" or is_handed(found)):
        return True
    return last in WHOM or (last.endswith("id") and last[:-2] in PEOPLE | WHOM)


def apart(name: str) -> list[str]:
    """The words of a name without digits, and a role apart from what is written together with it.

    Of ``createdby`` created, by; of ``operatorip`` operator, ip.
    """
    found: list[str] = []
    for word in words(name):
        plain = word.rstrip("0123456789") or word
        parted = _DONE_BY.fullmatch(plain) or _ROLES_OWN.fullmatch(plain)
        found.extend(parted.groups() if parted else [plain])
    return found


def is_handed(found: Sequence[str]) -> bool:
    """Whether words end as ``assigned_to`` does."""
    return len(found) > 1 and found[-1] == "to" and found[-2] in HANDED


def acts(column: str) -> bool:
    """Whether a column with a person's key says who acts on the row: ``approved_by``."""
    found = apart(column)
    return tells(" ".join(found), ACTING | CHANGING | OFFICES) or "to" in found


def is_polymorphic(column: str, beside: Iterable[str]) -> bool:
    """Whether a column beside it says which table's key it holds: ``owner_id``, ``owner_type``."""
    base = words(column)[:-1]
    return any(
        words(each)[:-1] == base and words(each)[-1] in _TYPES for each in beside if words(each)
    )


def is_bookkeeping(table: str) -> bool:
    """Whether a table is a migration tool's, an extension's or this program's own."""
    return table.lower() in BOOKKEEPING or table.lower().startswith(OURS)
