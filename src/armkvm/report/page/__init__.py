"""A result as one self-contained page: values in, HTML out; nothing is fetched, printed or asked."""
