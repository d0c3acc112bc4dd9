"""What people touch: the command line and the report page. They parse, call, print and draw; everything else lives below."""
