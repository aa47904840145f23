"""`make demo`: real parts come up, a service is applied with kubectl, questions about pictures are asked by curl.

Nothing here is scripted: pictures are drawn with a fresh seed, and the right answer is known from what was drawn.
"""
