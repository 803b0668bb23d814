"""Hypothesis' texts for records that nobody can take: any code point, with more of those that storage, UTF-8 or logs refuse."""

from hypothesis import strategies as st

signs = st.characters(codec=None)  # every code point
# One sign in a million is none that Postgres, UTF-8 or a line of log takes: more of those.
untakeable = st.sampled_from("\x00\x01\x0b\x1b\x7f\x85\ud83d\udc00\ufffe\uffff\u2028\u202e\U0001f600")
_some = st.text(signs, max_size=20)
any_text = st.one_of(_some, st.tuples(_some, untakeable, _some).map("".join))
