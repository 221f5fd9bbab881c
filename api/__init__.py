"""The read side: reports, and the jobs that check and correct."""
