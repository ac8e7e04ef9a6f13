"""The words in which the offline teacher argues: templates without a single figure, so that none can be invented.

``{label}`` is what a point is about, ``{word}`` what it reads. Each clause holds one of them, so that two points of a
thesis never say the same.
"""

from typing import Literal

Relation = Literal["for", "against", "open"]
"""Whether a point supports what is argued, opposes it, or neither."""

READINGS: dict[Relation, tuple[str, ...]] = {
    "for": (
        "with {label} at {word} the case gains ground",
        "{word} is the state of {label} that this case needs",
        "the {word} reading of {label} adds to the argument",
        "seeing {label} {word} makes the argument stronger",
        "few signs are plainer than {label} being {word}",
        "{label} stands at {word}, which fits the whole picture",
    ),
    "against": (
        "with {label} at {word} some doubt remains",
        "{word} is the state of {label} that a sceptic would name",
        "the {word} reading of {label} is the other side of it",
        "seeing {label} {word} calls for some caution",
        "critics would point at {label} being {word}",
        "{label} stands at {word}, which does not fit so well",
    ),
    "open": (
        "with {label} at {word} neither side gains much",
        "{word} is a state of {label} that settles little",
        "the {word} reading of {label} leaves the matter undecided",
        "seeing {label} {word} changes the odds only slightly",
        "both sides could live with {label} being {word}",
        "{label} stands at {word}, as on many other days",
    ),
}
"""The first half of an opinion in the full form."""
WEIGHTS: dict[Relation, tuple[str, ...]] = {
    "for": (
        "and I give {label} full weight because other data agree",
        "so whoever follows {label} would come to the same view",
        "and nothing beside {label} takes that support away",
        "which lets {label} carry much of this section",
        "and past cases like {label} were worth acting upon",
        "so I count {label} among the reasons to act",
    ),
    "against": (
        "but I hold {label} to be outweighed by the rest",
        "yet on its own {label} has not turned many markets",
        "but this objection from {label} weighs less than the others",
        "although I would watch {label} before adding any more",
        "which is why {label} limits how far I would go",
        "so I list {label} as the main risk here",
    ),
    "open": (
        "so I read {label} as background and look elsewhere",
        "and therefore {label} moves my view in no direction",
        "which leaves {label} for the other points to explain",
        "so a change in {label} would tell more than its level",
        "and I keep {label} in mind without leaning on it",
        "thus {label} only describes where things stand today",
    ),
}
"""The second half of an opinion in the full form."""
SHORT: dict[Relation, tuple[str, ...]] = {
    "for": ("reads {word}, so {label} supports this view", "is {word}, and {label} fits this view"),
    "against": ("reads {word}, so {label} limits this view", "is {word}, and {label} remains a risk"),
    "open": ("reads {word}, so {label} settles very little", "is {word}, and {label} leaves it open"),
}
"""An opinion in the short form, behind the label."""
CONCLUSIONS: dict[int, tuple[str, ...]] = {
    2: ("The points are clearly positive: buying with conviction is right.", "A strong case: buy, and buy boldly."),
    1: ("On balance the points are positive: buying is right.", "The upside is larger than the risks: buy."),
    0: ("The points are mixed and balance each other: holding is right.", "Neither side leads: hold."),
    -1: ("On balance the points are negative: selling is right.", "The downside is larger than the chances: sell."),
    -2: ("The points are clearly negative: selling with conviction is right.", "A weak case: sell, and sell boldly."),
}
"""By the rating that is argued for."""
WEIGHED = ("The decision follows from weighing these points.", "These points together lead to the decision.")
"""Where no rating is argued for."""
PLANS = ("First {topics}; then what they mean together.", "I look at {topics} before I decide.")
ROWS = {0: "latest", 1: "previous", 3: "recent", 5: "former", 8: "earlier", 11: "older", 14: "oldest"}
"""The rows of tables that are quoted, by the days before the last, and what they are called."""
ORDER = ("latest", "previous", "earlier")
"""What the first lines of a section of rows are called, the newest first."""
