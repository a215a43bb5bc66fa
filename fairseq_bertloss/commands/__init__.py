"""The subcommands of `bertloss`: each is a function that adds a parser and sets `run` to what it runs."""
