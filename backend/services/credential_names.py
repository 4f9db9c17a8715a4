"""Which columns hold credentials, by their names, their types and the table around them.

A name is taken apart into words (``telling_names.words``), words that are written together are
parted where both halves are known (``userpass``, ``phpsessid``), and digits are left aside. The
lists below are English, German, French and Spanish. ``SURE`` is withheld by the draft as a
credential, ``PERHAPS`` with a ``TODO``; where a section exports either, ``dsar coverage`` asks for
a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from enum import IntEnum
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import stored_type
from backend.services.telling_names import TIMES, listed, tells, words


class Secrecy(IntEnum):
    """Whether a column holds a credential."""

    NO = 0
    PERHAPS = 1
    SURE = 2


# Gives access wherever it stands, as a text or as a number.
_SURE: Final = listed(
    en="""
        password passwords passwd passwds pwd pwds pswd passwrd pword pw psw passphrase passcode
        pass secret secrets token credential credentials apikey apikeys privatekey accesskey
        secretkey authkey encryptionkey signingkey sessionkey sesskey masterkey consumerkey apitoken
        salt salts otp otps totp hotp mfa tfa twofa cvv cvc csc cvn pin jwt jwts bearer htpasswd
        sessiontoken sessiondata sessionhash sessid csrf xsrf rememberme magiclink magicurl
        backupcode backupcodes recoverycode recoverycodes recoverykey scratchcode scratchcodes
        resetcode verificationcode verifycode verifcode confirmcode confirmationcode activationcode
        activationkey resetkey confirmkey verificationkey authcode authorizationcode oauthcode
        logincode smscode onetimecode securitycode securityanswer secretanswer mnemonic seedphrase
        recoveryphrase cardnumber cardno cardnum ccnumber ccnum ccno creditcard creditcardnumber
        debitcard ccn puk ccv passw passwrd psswd pssword pswrd secretkeys authenticatorkey
        securitystamp
    """,
    de="""
        passwort passworte passwoerter kennwort kennwoerter geheimnis geheimezahl geheimnisse geheim
        geheimzahl geheimcode losungswort zugangsdaten kartennummer kartennr kreditkarte
        kreditkartennummer kreditkartennr pruefnummer kartenpruefnummer sicherheitscode
        bestaetigungscode sitzungstoken aktivierungscode freischaltcode einmalcode
        wiederherstellungscode pruefcode
    """,
    fr="""
        motdepasse motsdepasse mdp motpasse jeton jetons codesecret codeconfidentiel cartebancaire
        numerocarte numcarte clesecrete cleprivee cleapi cryptogramme codeactivation
        codeverification codesecurite
    """,
    es="""
        contrasena contrasenas contrasenia contrasenha secreto secretos claveacceso clavesecreta
        claveprivada claveapi codigosecreto codigoseguridad codigoverificacion codigoactivacion
        numerotarjeta tarjetacredito testigo
    """,
)
# These count as such in a text alone: a number so called counts, or numbers something.
_NOT_AS_NUMBERS: Final = listed(
    en="rememberme mfa tfa twofa bearer sessid sessiondata credentials secrets pass pw psw",
)
# May give access: a person must look. In texts, octets and UUIDs.
_PERHAPS: Final = listed(
    en="""
        auth oauth hash hashes hashed digest key keys seed nonce signature session sessions sess sid
        fingerprint tokens pan encrypted encryption enc cipher ciphertext crypt crypted cookie
        cookies webauthn passkey passkeys fido ufa pem pfx jks keytab kubeconfig keystore accesscode
        invitecode invitationcode doorcode gatecode entrycode alarmcode unlockcode paircode
        pairingcode devicecode giftcode licensecode licencecode usercode codeverifier codechallenge
        tok toks tkn tkns hmac vault privkey seckey pkey kek dek creds keytabs pkcs psk vapid pkce
        saml tgt clientsec sklive sktest stripesk livesk testsk sasurl xprv nsec ntlm nthash lmhash
        htdigest magstripe trackdata cardcode cardverification cardexp ccexp lockcode safecode
        keycode lockercode secanswer recoveryanswer codeword mothersmaiden hookuri hooklink
        hookendpoint recoverykit recoverykeys rememberkey registrationcode emailcode mailcode
        securityquestion maidenname memorableword webhook webhooks hookurl callbackurl dsn
        connection connectionstring connstr connstring connectionuri connectionurl databaseurl
        databaseuri dburl dburi sqlalchemyuri jdbc jdbcurl mongouri mongourl mongodburi redisurl
        redisuri smtpurl smtpuri mailurl amqpurl brokerurl ldapurl ldapuri ftpurl imapurl
        postgresurl mysqlurl signedurl presignedurl reseturl confirmurl inviteurl invitelink
        sharelink resetlink confirmlink loginlink loginurl feedurl unsubscribeurl verifyurl
        verifylink storageurl backendurl serviceurl proxyurl paymentcard bankcard cardpan
    """,
    de="""
        schluessel zugangscode zugangscodes verschluesselt pruefziffer sitzung sitzungsid
        sicherheitsfrage tuercode verbindung signatur anmeldecode
    """,
    fr="cle cles chiffre session signature codeacces connexion questionsecrete",
    es="clave claves cifrado sesion firma codigoacceso conexion preguntaseguridad llave",
)
# The like, where a name ends in it: the first word of a name may be of something else.
_AT_THE_END: Final = listed(
    en="""
        remember recovery recover hook hooks magic pat pats cred sk conn scrt secr unlock tan mtan
        lockbox priv rsa
    """,
    de="itan pushtan losung",
)
_WITH_DIGITS: Final = frozenset({"u2f", "p12", "p256dh", "cv2"})
# When a card beside it expires.
_EXPIRY: Final = listed(
    en="""
        exp expiry expiration expdate expirydate expirationdate expmonth expirymonth expirationmonth
        expyear expiryyear expirationyear expmm expyy expm expy validthru validthrough goodthru
        cardexpires cardexpiresat ccexpires
    """,
    de="ablaufdatum gueltigbis",
    fr="dateexpiration",
    es="vencimiento caducidad fechavencimiento fechacaducidad",
)
# Of these, a number counts as well.
_AS_NUMBERS_TOO: Final = listed(
    en="""
        pan pass pw psw nonce cardcode lockcode safecode keycode accesscode doorcode gatecode
        entrycode alarmcode unlockcode invitecode
    """,
    de="zugangscode tuercode",
    es="clave codigoacceso",
    fr="codeacces",
)
# A word before or after a credential's, written together with it or not.
_QUALIFIERS: Final = listed(
    en="""
        user usr users db database smtp imap pop ftp sftp ssh ldap mysql pg redis mail admin root
        login logon account acct access refresh id auth oauth api app client consumer shared private
        public session sess php asp reset confirm confirmation verify verification activation invite
        invitation remember device push web hook email old new current last previous temp tmp hashed
        encrypted crypted crypt enc digest hash hashes key keys seed code codes plain customer
        member wifi wpa vpn proxy master card credit debit cc number no num bearer security secure
        recovery backup string str uri url link authorization my the raw base text value bcrypt sha
        md argon pbkdf scrypt unlock slack stripe twilio aws gcp azure github gitlab telegram
        discord paypal pairing magic jwt connection webhook data store reader owner
    """,
    de="benutzer nutzer kunde kunden konto zugang",
    fr="utilisateur",
    es="usuario",
)
# Ends of names that say something about a credential, and are none themselves.
_ABOUT: Final = TIMES | listed(
    en="""
        count counts counter attempts tries retries failures failed enabled disabled active inactive
        required changed sent verified confirmed used usage uses revoked policy length len size type
        types kind status state algorithm algo method methods strategy version name names label
        title description comment note notes prefix suffix last lastfour four provider providers
        issuer scope scopes expiration expire valid ttl lifetime timeout level strength score rules
        enforced allowed locked position color colour icon limit quota remaining balance amount
        price supply symbol decimals consent banner accepted brand holder order sort index month
        year duration seconds minutes hours days requests calls stats lang language locale
    """,
    de="anzahl art typ name status laenge datum ablauf versuche inhaber",
    fr="nombre type statut nom expiration titulaire",
    es="tipo estado nombre cantidad vencimiento caducidad titular",
)
_ASKING: Final = listed(
    en="""
        is has needs must should can may allow allows enable enables use uses require requires force
        max min num
    """,
)
# Keys, codes and hashes of other things.
_HARMLESS: Final = listed(
    en="""
        primarykey foreignkey publickey sortkey metakey cachekey translationkey lookupkey objectkey
        filekey storagekey naturalkey partitionkey idempotencykey routingkey configkey settingkey
        optionkey attributekey propertykey fieldkey messagekey groupkey rangekey searchkey pagekey
        blobkey imagekey categorykey localekey contenthash filehash imagehash bodyhash rowhash
        commithash githash blobhash geohash phash queryhash txhash transactionhash blockhash
        contentdigest emailsignature mailsignature keyword keywords keyboard datakey sessioncount
        prompttokens completiontokens inputtokens outputtokens totaltokens maxtokens cachedtokens
        passrate passmark passfail boardingpass seasonpass skipass buspass passcount passnumber
        passtype daypass passgrade hashtag hashtags randomseed
    """,
)
# Such columns hold what a table of these is about.
_CONTENTS: Final = listed(
    en="key value val data payload content code hash digest raw plain plaintext blob",
    de="wert schluessel inhalt daten",
    fr="cle valeur code",
    es="clave valor codigo",
)
_TABLES: Final = listed(
    en="""
        secret secrets token tokens credential credentials password passwords apikey apikeys vault
        otp otps session sessions sess passkey passkeys recoverycode recoverycodes backupcode
        backupcodes verification verifications privatekey privatekeys accesskey accesskeys oauthcode
        oauthcodes authcode authcodes invitation invitations sshkey sshkeys authorizationcode
        authorizationcodes passwordreset passwordresets mfa totp webauthn
    """,
    de="geheimnisse passwoerter sitzungen zugangsdaten",
    fr="jetons motsdepasse",
    es="contrasenas sesiones",
)
_SESSIONS: Final = listed(en="session sessions sess", de="sitzung sitzungen", es="sesiones")
# Beside the name of an attribute its value, which may be anything.
_ATTRIBUTES: Final = listed(
    en="key metakey optionname optionkey settingkey", de="schluessel", fr="cle", es="clave"
)
_VALUES: Final = listed(en="value val values", de="wert", fr="valeur", es="valor")
_LONG: Final = (
    *("password", "passwd", "passwort", "kennwort", "passphrase", "apikey", "contrasena"),
    *("motdepasse", "credential", "privatekey", "accesstoken", "refreshtoken", "authtoken"),
)
_TWO_FACTORS: Final = re.compile(r"2_?(?:fa|sv|step)(?![a-z])|two_?(?:factor|step)|second_?factor")
# Whose number is not a means of payment.
_OTHER_CARDS: Final = listed(
    en="""
        membership member loyalty library student health insurance business gift id identity sim
        report
    """,
)
_NUMBERS: Final = (sa.Integer, sa.Numeric)
_MARKS: Final = (sa.Boolean, sa.Date, sa.DateTime, sa.Time, sa.Interval, sa.Enum)


def secrecy(
    column: str,
    kind: sa.types.TypeEngine[Any],
    table: str = "",
    beside: Iterable[str] = (),
) -> Secrecy:
    """Whether this column of a table holds a credential; ``beside`` names the table's columns."""
    kind = stored_type(kind)
    if not isinstance(kind, sa.Boolean) and _is_of_a_card(column, beside):
        return Secrecy.PERHAPS
    if _is_a_mark(kind) or _is_one_of_many(column, beside):
        return Secrecy.NO
    found = by_name(column)
    if isinstance(kind, _NUMBERS):
        return _of_a_number(column, found)
    if found is Secrecy.PERHAPS and _names_an_attribute(column, beside):
        return Secrecy.NO
    if found is Secrecy.NO and (_is_contents(column, kind, table) or _is_any_value(column, beside)):
        return Secrecy.PERHAPS
    return found


def _is_of_a_card(column: str, beside: Iterable[str]) -> bool:
    """Whether this is the code, or the expiry, of a card whose number stands beside it."""
    if words(column) != ["code"] and not tells(column, _EXPIRY):
        return False
    return any(_said(_parts(each)) & _PAYING for each in beside)


def _is_one_of_many(column: str, beside: Iterable[str]) -> bool:
    """Whether this is a numbered column, as ``p12`` behind ``p11`` is."""
    return words(column) == ["p12"] and any(words(each) == ["p11"] for each in beside)


def _is_a_mark(kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether values of the type are truths, times or choices."""
    # MariaDB's truths are numbers of one digit, or bits.
    width = getattr(kind, "display_width", None) if isinstance(kind, sa.Integer) else None
    bit = kind.__visit_name__ == "BIT" and getattr(kind, "length", None) in (None, 1)
    return isinstance(kind, _MARKS) or width == 1 or bit


@cache
def by_name(name: str) -> Secrecy:
    """Whether a name, of a column or of a key within JSON, is a credential's."""
    parts = _parts(name)
    if not parts or _is_about(parts):
        return Secrecy.NO
    said = _said(parts)
    if said & _HARMLESS:
        return Secrecy.NO
    if _TWO_FACTORS.search(name.lower()) or said & _SURE or _holds_a_long_one(name):
        doubtful = parts[-1] in ("id", "url", "uri", "link", "path", "file", "hint") or (
            said & _OTHER_CARDS and not said & (_SURE - _CARDS)
        )
        return Secrecy.PERHAPS if doubtful else Secrecy.SURE
    if parts[-1] == "id" and not said & _SESSIONS:
        return Secrecy.NO
    if said & _PERHAPS or parts[-1] in _AT_THE_END or tells(name, _WITH_DIGITS):
        return Secrecy.PERHAPS
    if parts[-1] in ("uri", "url") and said & _CONNECTED:
        return Secrecy.PERHAPS
    return Secrecy.NO


_CARDS: Final = frozenset({"cardnumber", "cardno", "cardnum"})
# Beside such a number a code is the card's.
_PAYING: Final = _CARDS | listed(
    en="ccn ccnumber ccnum ccno creditcard creditcardnumber debitcard paymentcard",
    de="kartennummer kreditkarte kreditkartennummer",
    fr="numerocarte cartebancaire",
    es="numerotarjeta tarjetacredito",
)
_CONNECTED: Final = listed(
    en="""
        db database sqlalchemy postgres postgresql mysql mariadb mongo mongodb redis amqp rabbitmq
        broker smtp imap ldap ftp sftp jdbc odbc hook webhook callback ical calendar feed connection
        backend upstream repository repo git proxy
    """,
)


def _of_a_number(column: str, found: Secrecy) -> Secrecy:
    said = _said(_parts(column))
    if found is Secrecy.SURE and said & (_SURE - _NOT_AS_NUMBERS):
        return found
    if said & _AS_NUMBERS_TOO and found is not Secrecy.NO:
        return Secrecy.PERHAPS
    return Secrecy.NO


def _names_an_attribute(column: str, beside: Iterable[str]) -> bool:
    """Whether this is the name of an attribute whose value stands beside it."""
    if not _ATTRIBUTES.intersection(words(column)[-1:]):
        return False
    return any(_VALUES.intersection(words(each)[-1:]) for each in beside)


def _is_any_value(column: str, beside: Iterable[str]) -> bool:
    """Whether this is the value of an attribute that another column names: of anything."""
    if not _VALUES.intersection(words(column)[-1:]):
        return False
    return any(_ATTRIBUTES & _said(tuple(words(each)[-2:])) for each in beside)


def _is_contents(column: str, kind: sa.types.TypeEngine[Any], table: str) -> bool:
    """Whether this is what a table of credentials holds, or the key of a session."""
    about = _said(_parts(table))
    if words(column) in (["id"], ["sid"]):
        text = not isinstance(kind, sa.Uuid) and bool(about & _TABLES)
        return text or bool(about & _SESSIONS)
    return bool(about & _TABLES and _CONTENTS.intersection(words(column)[-1:]))


def _is_about(parts: Sequence[str]) -> bool:
    return parts[-1] in _ABOUT or parts[0] in _ASKING


def _holds_a_long_one(name: str) -> bool:
    joined = "".join(words(name))
    return any(each in joined for each in _LONG)


@cache
def _said(parts: tuple[str, ...]) -> Set[str]:
    """The words, and each two, three and four neighbours together."""
    found = set(parts)
    run = list(parts)
    for length in (2, 3, 4):
        run = [first + last for first, last in zip(run, parts[length - 1 :], strict=False)]
        found.update(run)
    return found


@cache
def _parts(name: str) -> tuple[str, ...]:
    parts: list[str] = []
    for word in words(name):
        for part in re.findall("[a-z]+", word):
            parts.extend(_parted(part))
    return tuple(parts)


@cache
def _parted(word: str) -> tuple[str, ...]:
    """A word that is written of several known ones, as these; else as it is."""
    if word in _WHOLE:
        return (word,)
    for end in range(len(word) - 1, 1, -1):
        if word[:end] in _KNOWN:
            rest = _parted(word[end:])
            if all(each in _KNOWN_WITHIN for each in rest):
                return (word[:end], *rest)
    return (word,)


_KNOWN: Final = _QUALIFIERS | {
    *("password", "passwd", "pwd", "pass", "passcode", "secret", "token", "tokens", "salt", "otp"),
    *("totp", "mfa", "cvv", "cvc", "pin", "jwt", "csrf", "pw", "passwort", "kennwort", "mdp"),
    *("contrasena", "clave", "geheim", "jeton", "nonce", "cookie", "session", "sid", "cipher"),
    *("tok", "tkn", "hook", "cred", "creds"),
}
_KNOWN_WITHIN: Final = _KNOWN | {each for each in _SURE | _PERHAPS if len(each) > 4}
_WHOLE: Final = _SURE | _PERHAPS | _HARMLESS | _ABOUT | _KNOWN
