"""Takes attendance out: for spreadsheets, for payroll and for other systems."""
