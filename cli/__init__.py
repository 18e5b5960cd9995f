"""The command line: one module per subcommand, arguments to one library call to text or file."""
