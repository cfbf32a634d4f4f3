"""Who is who: identities of people from frame to frame."""
