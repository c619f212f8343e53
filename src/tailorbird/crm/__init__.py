"""Every CRM behind one interface: what a record is, what a connector can do, and how both sides stay in step."""
