"""What a memory is worth: one frozen generator answers the same questions by many methods, and each is weighed.

`metrics` scores answers, `answers` gets them, `retrievers` find evidence, `bench` holds what all methods share,
`methods` says what each of them lets the generator read, and `run` puts it together.
"""
