"""The ledger of a document: its logs, what each operation builds on, who is a member, and whose each client id is."""
