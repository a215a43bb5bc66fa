"""The subcommands of `bertloss`: for each, a function that adds its parser and one that runs it."""
