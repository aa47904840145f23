"""The artifact store: pure paths (``layout``) and a folder on this machine (``local``)."""
