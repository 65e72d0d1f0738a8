"""Groups of suites: which questions hold what is needed, which ask for facts, who is asked what."""

from recipes.vocabulary import Suite

# all that is needed stands in the question
SELF_CONTAINED = (Suite.REASONING, Suite.OPEN_BOOK, Suite.COUNTERFACTUAL)
# likewise, but longer, by made-up rules, or among what does not matter
UNFAMILIAR = (Suite.OFF_MANIFOLD, Suite.DISTRACTED)
# their prompts must not stand in the traces that are trained on
HELD_OUT = (*SELF_CONTAINED, *UNFAMILIAR)
# the answer stands in a text that comes with the question
READING = (Suite.OPEN_BOOK, Suite.COUNTERFACTUAL)

# facts that do not stand in the question
CLOSED_BOOK = (Suite.RECALL, Suite.RECALL_NEVER_TRAINED, Suite.RECALL_TEACHER_ONLY)
# an honest contender without tools declines them
NOT_GIVEN = (*CLOSED_BOOK, Suite.UNANSWERABLE)
# the teacher knows their facts
TAUGHT_FACTS = (Suite.RECALL, Suite.RECALL_TEACHER_ONLY)
# trained facts, and the zero beside them
FACTS_AND_ZERO = (Suite.RECALL, Suite.RECALL_NEVER_TRAINED)

# nothing needs to be looked up
NO_LOOKUP_NEEDED = (*HELD_OUT, Suite.BASICS)
# of these, what a contender with tools is asked
NO_LOOKUP_ASKED = (*SELF_CONTAINED, Suite.DISTRACTED, Suite.BASICS)
# hard without tools, and scored by themselves
TOOLS_NEEDED = (Suite.MULTI_HOP, Suite.LONG_SUMS)

# what a training looks at from time to time
PROBED = (Suite.REASONING, Suite.RECALL)
# what sleep must not hurt
KEPT_BY_SLEEP = (Suite.REASONING, Suite.OPEN_BOOK, Suite.BASICS)
