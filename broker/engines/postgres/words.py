"""Words that masked names and addresses are drawn from, French and English.

They stand in the code and not in a setting: the same plan must give the same SQL. All are common,
so that none points at anybody, and in ASCII, which every database's encoding holds.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


FIRST_NAMES = _words(
    "Alice|Amelie|Andre|Anna|Antoine|Arthur|Basile|Benjamin|Bruno|Camille|Carl|Celine|Charles"
    "|Chloe|Claire|Clement|Daniel|David|Diane|Edith|Elise|Emile|Emma|Eric|Eva|Felix|Florence"
    "|Gabriel|George|Grace|Helene|Henri|Hugo|Irene|Isaac|Jack|Jeanne|Jules|Julia|Karim|Laura|Lea"
    "|Leon|Lina|Louis|Lucie|Manon|Marc|Marie|Martin|Mathilde|Maya|Nathan|Nina|Noe|Oscar|Paul"
    "|Pauline|Rose|Samuel|Sarah|Simon|Sophie|Victor"
)
LAST_NAMES = _words(
    "Adams|Allard|Arnaud|Bailey|Barbier|Baron|Bernard|Bertrand|Blanc|Bonnet|Boucher|Boyer|Brown"
    "|Brun|Carpentier|Carter|Chevalier|Clark|Collin|Cooper|Davies|Dubois|Dumas|Durand|Evans|Fabre"
    "|Faure|Fisher|Fontaine|Fournier|Garnier|Gautier|Girard|Green|Guerin|Hall|Hill|Hughes|Jones"
    "|Lambert|Leclerc|Lefevre|Legrand|Lemoine|Marchand|Martin|Masson|Mercier|Meunier|Moore|Morel"
    "|Moulin|Noel|Parker|Perrin|Petit|Renard|Richard|Robert|Rousseau|Roy|Simon|Taylor|Walker"
)
STREETS = _words(
    "rue des Lilas|rue du Moulin|avenue de la Gare|place du Marche|chemin des Vignes|rue Neuve"
    "|rue des Ecoles|cours des Tilleuls|impasse du Puits|rue de la Fontaine|rue du Stade"
    "|boulevard du Nord|Church Street|High Street|Station Road|Mill Lane|Park Avenue"
    "|Green Lane|Victoria Road|School Lane|Garden Close|Bridge Street|North Road|Orchard Way"
)
CITIES = _words(
    "Beaumont|Belleville|Bellevue|Bourg|Chateauneuf|Clairville|Fontenay|Grandchamp|Hautefort"
    "|Longpre|Montclair|Neuville|Rochefort|Saint-Martin|Sainte-Anne|Valmont|Villefranche"
    "|Ashford|Bridgeton|Brookfield|Easton|Fairview|Greenville|Hillside|Kingsbury|Lakewood|Milton"
    "|Newtown|Norton|Oakham|Riverside|Westfield"
)
