"""The words of a certificate's PDF, in English and French, and of the sentences that it quotes.

The signed statement is in English. What is translated here are its known sentences; one that is not
known is shown as it was signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LANGUAGES: Final = ("en", "fr")

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "title": "Certificate of destruction",
        "intro": "{vendor} states that this copy was destroyed, and that fresh looks, made through "
        "other connections than those that deleted, found nothing of it in the places below.",
        "revoked": "REVOKED on {at}: a part of the copy was found after this was issued. Do not "
        "rely on it.",
        "replaces": "This certificate replaces {old}, which was revoked.",
        "facts": "What was destroyed",
        "tenant": "Customer",
        "database": "Database",
        "requester": "Made for",
        "snapshot": "Copy",
        "grant": "Permission",
        "ticket": "Ticket",
        "why": "Why it ended",
        "times": "When",
        "ordered": "Ordered",
        "ready": "Ready",
        "condemned": "Condemned",
        "key_erased": "Data key erased",
        "destroyed": "Destroyed",
        "issued": "Certificate issued",
        "never": "never",
        "holds": "Legal holds: kept sealed and unreadable, destroyed after",
        "customer": "agreed by the customer",
        "authority": "ordered by an authority",
        "inventory": "Every place that held a part, and how it was cleared (NIST SP 800-88 r2)",
        "looks": "Looks",
        "found": "FOUND",
        "nothing": "nothing found",
        "residue": "What may remain",
        "attested": "What was said, and could not be verified",
        "took_none": "Nobody said what was taken out of the copy by hand.",
        "took_nothing": "{at}: the person for whom it was made says that they took nothing out.",
        "took_erased": "{at}: the person for whom it was made says that they took something out, "
        "and erased all of it.",
        "took_kept": "{at}: the person for whom it was made says that they still keep something "
        "that came out of it.",
        "not_covered": "What this does not cover",
        "verify": "Verify it yourself",
        "how": "This page is for reading; it proves nothing by itself. What is signed is the file "
        "{file}, which holds ids instead of names. Verify it offline, with the key that you pinned "
        "when you were enrolled:",
        "digest": "SHA-256 of that file",
        "log": "Log in which it stands",
        "software": "Made by",
        "page": "page",
    },
    "fr": {
        "title": "Certificat de destruction",
        "intro": "{vendor} certifie que cette copie a été détruite, et que de nouveaux contrôles, "
        "faits par d'autres connexions que celles qui ont supprimé, n'en ont rien retrouvé aux "
        "emplacements ci-dessous.",
        "revoked": "RÉVOQUÉ le {at} : une partie de la copie a été retrouvée après l'émission. Ne "
        "vous y fiez pas.",
        "replaces": "Ce certificat remplace {old}, qui a été révoqué.",
        "facts": "Ce qui a été détruit",
        "tenant": "Client",
        "database": "Base de données",
        "requester": "Faite pour",
        "snapshot": "Copie",
        "grant": "Autorisation",
        "ticket": "Ticket",
        "why": "Motif de la fin",
        "times": "Dates",
        "ordered": "Demandée",
        "ready": "Prête",
        "condemned": "Condamnée",
        "key_erased": "Clé de données effacée",
        "destroyed": "Détruite",
        "issued": "Certificat émis",
        "never": "jamais",
        "holds": "Conservations légales : gardée scellée et illisible, détruite ensuite",
        "customer": "accordée par le client",
        "authority": "ordonnée par une autorité",
        "inventory": "Chaque emplacement qui en contenait une partie, et son effacement "
        "(NIST SP 800-88 r2)",
        "looks": "Contrôles",
        "found": "RETROUVÉ",
        "nothing": "rien retrouvé",
        "residue": "Ce qui peut subsister",
        "attested": "Ce qui a été déclaré, et n'a pas pu être vérifié",
        "took_none": "Personne n'a déclaré ce qui a été emporté de la copie à la main.",
        "took_nothing": "{at} : la personne pour qui elle a été faite déclare n'en avoir rien "
        "emporté.",
        "took_erased": "{at} : la personne pour qui elle a été faite déclare en avoir emporté "
        "quelque chose, et avoir tout effacé.",
        "took_kept": "{at} : la personne pour qui elle a été faite déclare en conserver encore "
        "quelque chose.",
        "not_covered": "Ce que ce certificat ne couvre pas",
        "verify": "Vérifiez par vous-même",
        "how": "Cette page sert à la lecture ; elle ne prouve rien par elle-même. Ce qui est signé "
        "est le fichier {file}, qui contient des identifiants au lieu des noms. Vérifiez-le hors "
        "ligne, avec la clé que vous avez conservée lors de votre inscription :",
        "digest": "SHA-256 de ce fichier",
        "log": "Journal où il figure",
        "software": "Émis par",
        "page": "page",
    },
}

# Sentences of statements; the key is what is signed.
FRENCH: Final[Mapping[str, str]] = {
    "data key": "clé de données",
    "legal hold": "conservation légale",
    "artifact": "archive scellée",
    "sandbox database": "base du bac à sable",
    "sandbox role": "rôle du bac à sable",
    "real values": "valeurs réelles",
    "searched in every masked column, before it was dropped, by keyed digests": "cherchées dans "
    "chaque colonne masquée, avant sa suppression, par empreintes à clé",
    "cryptographic erase: the snapshot's own wrapping key was erased": "effacement cryptographique "
    ": la clé d'enveloppe propre à cette copie a été effacée",
    "clear: every object, version and unfinished upload was deleted; sealed all along": "clear : "
    "chaque objet, version et envoi inachevé a été supprimé ; scellés de bout en bout",
    "clear: the database was dropped and a checkpoint asked for": "clear : la base a été supprimée "
    "et un point de contrôle demandé",
    "cryptographic erase: the volume's own wrapping key was erased": "effacement cryptographique : "
    "la clé d'enveloppe propre au volume a été effacée",
    "purge by cryptographic erase: it was encrypted from its first byte, its key was erased; then "
    "unmounted and deleted": "purge par effacement cryptographique : chiffré dès son premier "
    "octet, sa clé a été effacée ; puis démonté et supprimé",
    "ended: every process of the copy's own server": "terminés : tous les processus du serveur "
    "propre à la copie",
    "purge by cryptographic erase: it was on the copy's own volume alone": "purge par effacement "
    "cryptographique : elle n'était que sur le volume propre à la copie",
    "listed the host's processes": "processus de l'hôte listés",
    "listed the host's mounts and folders": "montages et dossiers de l'hôte listés",
    "dedicated test server: freed blocks of its disk may hold the volume's ciphertext, whose key "
    "is gone; what its memory held is the host's to forbid from swap and core dumps": "serveur de "
    "test dédié : les blocs libérés de son disque peuvent contenir le chiffré du volume, dont la "
    "clé n'existe plus ; ce que contenait sa mémoire, l'hôte doit l'interdire d'échange (swap) et "
    "de vidage (core)",
    "clear: the role was dropped": "clear : le rôle a été supprimé",
    "asked to unwrap, which must be refused; listed the keys": "déchiffrement demandé, qui doit "
    "être refusé ; clés listées",
    "listed databases and labels": "bases et étiquettes listées",
    "listed marked roles and labels": "rôles marqués et étiquettes listés",
    "listed all objects, versions and unfinished uploads": "objets, versions et envois inachevés "
    "listés",
    "shared test server: freed blocks of its volume and write-ahead log segments not yet removed "
    "may hold masked rows, columns that were approved as kept, and what engineers wrote, until "
    "they are overwritten or the volume's key is changed": "serveur de test partagé : les blocs "
    "libérés de son volume et les segments de journal (WAL) pas encore retirés peuvent contenir "
    "des lignes masquées, les colonnes dont la conservation a été approuvée et ce que les "
    "ingénieurs ont écrit, jusqu'à leur réécriture ou au changement de la clé du volume",
    "what people took out by hand from the sandbox, by copying from their screens or files": "ce "
    "que des personnes ont emporté à la main du bac à sable, en copiant depuis leur écran ou leurs "
    "fichiers",
    "the ticket has ended": "le ticket est clos",
    "its time is over": "sa durée est écoulée",
    "too few of those who approved may still approve": (
        "trop peu de ceux qui ont approuvé en ont encore le droit"
    ),
    "what stands in the broker's database is not what was signed": (
        "la base du courtier ne dit plus ce qui a été signé"
    ),
    "ended by the customer": "terminée par le client",
    "ended by the vendor": "terminée par le fournisseur",
    "the customer ended everything": "le client a tout terminé",
    "the vendor ended everything": "le fournisseur a tout terminé",
    "destroyed by the tenant's wish": "détruite à la demande du client",
    "destroyed by the vendor's wish": "détruite à la demande du fournisseur",
    "the person who asked was disabled": "la personne demandeuse a été désactivée",
    "the person who asked has no role any more": "la personne demandeuse n'a plus de rôle",
    "the copy failed again and again": "la copie a échoué à plusieurs reprises",
}


def translate(sentence: str, language: str) -> str:
    return FRENCH.get(sentence, sentence) if language == "fr" else sentence
