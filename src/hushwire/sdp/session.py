"""Session descriptions (RFC 8866): parsed and formatted, unknown lines kept where they belong.

Lines end in CRLF; a bare LF is tolerated, since phones send it and the body's length is known. Order is checked only as far as it
carries meaning: what stands before the first m= belongs to the session.
"""
