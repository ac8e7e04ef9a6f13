"""The ways in which a company is called in a text: its name, parts of it, and how they may be spelt."""

import re

_LEGAL = re.compile(
    r"(?:\b(?:incorporated|inc|corporation|corp|company|co|limited|ltd|plc|llc|lp|sa|nv|ag|se|spa|group|holdings?|trust"
    r"|stores?)|\b(?:p\.l\.c|s\.a|n\.v|l\.p|s\.p\.a|a\.g)|sa/nv|&)\.?\s*$",
    re.IGNORECASE,
)
# Words that alone do not tell which company is meant: of the languages, the places and the trades in companies' names.
_WORDS = """
ace active advance advanced aero air airlines airways align all allied ally alpha america american analog apartment
applied arch arrow arts associated atlantic auto automatic autos avenue axis baker ball banco bancorp bank banks bath
beach berry best better beverage big bio black block blue booking boot boston brands bridge bright british brown build
builders business cable california canadian capital cardinal care carnival cars cash casino castle cement center
central century chain chart charter chase chemical china church cities citizens city clean clear clinic clothing cloud
coast coffee cold columbia comfort commerce communications community companhia compass computer consolidated
constellation construction consumer container continental core corn corporate cost cover credit cross crown cruise
data day delta dental depot design deutsche devices diamond digital direct discover discovery diversified dollar
dominion dover dow drug dutch dynamic dynamics eagle eastern eastman edge edison education edwards electric electronic
electronics element emerald empire energy engineering enterprise enterprises entertainment equipment equity essential
ever everest exact exchange expand express extra eye fair farm fast federal fiber fidelity fifth financial first
fitness flag floor flow food foods force form fortune forward four fox franklin freedom fresh frontier fuel fund
furniture future game gaming gap garden gas gen general generation genuine german glass global globe gold golden good
grain grand graphic graphite great green grid grocery group growth grupo guardian guess guidance handy harbor health
heritage hill holding home honest hope hospital host hotels house howard human hunt ice ideal illinois impact imperial
income independent industrial industries infrastructure innovation innovative insight instruments insurance integrated
interactive international internet invitation iron island jack jacobs japan jefferson jet johnson journey key keys
keystone laboratories lamb las leader learning leather legacy legend leisure lending liberty life light lincoln live
loan local logic logistics love lucky lumber machine main man manufacturing marathon marine mark market markets martin
masters match materials max meat media medical mercury meridian metro micro mid midland mining mobile mobility modern
monster montana morgan mortgage motion motor motors mountain movement music mutual nation national natural navigator
network networks new news next nice nine norfolk north northern northwest now nuclear oak ocean office oil old one
open optical orange orbit orion owens pacific packaging paint palm paper para paramount park parker partners party
path patriot patterson payments peak penn people peoples perfect performance pet petroleum pharma pharmaceuticals
philip phoenix photo physicians pilgrim pilgrims pinnacle pioneer pipe pizza plains plan planet plant plastics play
point pool portland post poultry power precision premier prime principal print pro products professional progress
progressive prologis proof property prudential public publishing pulse pure quality quest rail railroad ralph rapid
raymond reach real realty recovery red regal regency regions reinsurance reliance renewable rental republic research
resort resource resources restaurant restaurants retail rich ride ridge rise river robotics rock rockwell root rose
ross royal rural rush safe safety sale salon san save science scientific sea seal sealed security select semiconductor
senior service services seven shake shell shift shipping shoe shop sigma silicon silver simon simply six skyline sleep
slim smart smith snap software solar solid solutions sonic source south southern southwest space special spirit sports
spring square standard stanley star state steam steel stock stone storage strategic stride sugar summit sun super
superior supply supreme surgery sweet swiss synergy systems table taiwan take tandem target tax team tech technologies
technology telecom telephone television term terminal texas therapeutics thermo thomson three tiger timber tire titan
tobacco tool tools top total toy toys trade training transport transportation travel travelers trend tri trinity trip
truck true trust two tyler ultimate under uniform union unit united unity universal urban utilities vacation valley
value vector ventures verse vertex vertical victory video village virgin virtual vision visionary visual vital vitamin
vulcan walker warner warrior waste water waters wave well wells west western white wide wild williams wind wine wing
wireless wolf wood word work workday working world yellow york young zebra zero
"""
COMMON = frozenset(_WORDS.split())
_LITTLE = """
ad al all am an and any are art as ask at bad bag bar bat bay be bed bet big bit box boy bud bus but buy by can cap car
cat cop cow cut day de did die dig do dog dry due ear eat eat egg el en end era eye fan far fat few fit fix fly for fox
fun gap gas get go god got gun guy had has hat he her hi him his hit hot how hum ice id if ill in is it its job joy key
kid la lab law lay led leg let lie lip log lot low ma man map may me men met mid mix mom my net new no nor not now nut
odd of off oil ok old on one opt or our out own pa pan par pay pen per pet pie pin pit pm pop pot pre pro put ran rat
raw re red rex rid row run sad sat saw say sea see set sex she shy sir sit six sky so son spy sun tap tax tea ten the
tie tip to toe ton too top toy try tv two un up us use van vet via war was way we web wet who why win won yes yet you
zoo
"""
LITTLE_WORDS = frozenset(_LITTLE.split())
"""English words that are symbols, too."""
# Given names at the head of a company's name: it is called by the surname, too.
_GIVEN = frozenset({"charles", "eli", "estee", "henry", "jack", "mary", "philip", "ralph", "robert", "walt", "william"})
_AND = r"\s*(?:&(?:\s?amp\s?;)?|and)\s*"
_APOSTROPHE = r"\s?['’`´]?\s?"
_GAP = r"[\s.,\-–]{0,3}"


def aliases(name: str) -> list[str]:
    """The names of a company: in full, without article and legal form, and its telling first word or words.

    A first word tells unless it is a common one; then the first two of a longer name do ("Taiwan Semiconductor"),
    and after a given name the surname does ("Disney").
    """
    full = re.sub(r"\s+", " ", name).strip(" ,")
    short = re.sub(r"^the\s+", "", full, flags=re.IGNORECASE)
    found = [full, short]
    while (shorter := _LEGAL.sub("", short).rstrip(" ,&")) != short and shorter:
        short = shorter
        found.append(short)
    words = re.split(r"[\s,]+", short)
    first = words[0].removesuffix(".com")
    telling = [first, re.sub("['’`´]s$", "", first), *(words[1:2] if first.casefold() in _GIVEN else [])]
    found += [word for word in telling if _telling(word)]
    if len(words) > 2 and _plain(words[0]) in COMMON and _plain(words[1]) not in {*COMMON, "of", "de", "and", "&"}:
        found.append(" ".join(words[:2]))
    return [alias for alias in dict.fromkeys(found) if len(_plain(alias)) > 1]


def spelling(alias: str) -> str:
    """A regular expression for an alias as texts and tweets write it.

    Blanks, dashes and dots inside it may be missing or others, an apostrophe too ("Walmart", "mcdonald ’ s"), "&" may
    be "and", and the letters of an acronym may stand apart ("J.P. Morgan" for "JPMorgan").
    """
    found = ""
    for i, (gap, word) in enumerate(_parts(alias)):
        joint = _AND if "&" in gap else _APOSTROPHE if re.search("['’`´]", gap) else _GAP
        found += ("" if not i else joint if re.fullmatch(joint, gap) else re.escape(gap)) + re.escape(word)
    return found


def heads(alias: str) -> set[str]:
    """The words, in lower case, with which a spelling of an alias can begin."""
    found, joined = set(), ""
    for i, (gap, word) in enumerate(_parts(alias)):
        if i and "&" in gap:
            break
        joined += word.casefold()
        found.add(joined)
    return found


def key(alias: str) -> str:
    """The same for every spelling of an alias."""
    return re.sub(r"[\W_]+", "", re.sub(r"&(?:\s?amp\s?;)?|\band\b", "", alias.casefold()))


def _parts(alias: str) -> list[tuple[str, str]]:
    """The words of an alias, each with what stands before it; an acronym at the head of a word letter by letter."""
    found: list[tuple[str, str]] = []
    for gap, word in re.findall(r"(\W*)(\w+)", alias):
        if (acronym := re.match(r"([A-Z]{2,3})(?=[A-Z][a-z]{2})", word)) is None:
            found.append((gap, word))
        else:
            letters = [(gap if i == 0 else "", letter) for i, letter in enumerate(acronym[1])]
            found += [*letters, ("", word[acronym.end() :])]
    return found


def _telling(word: str) -> bool:
    return len(_plain(word)) >= 4 and _plain(word) not in COMMON


def _plain(word: str) -> str:
    return re.sub(r"\W", "", word.casefold())
