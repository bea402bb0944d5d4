"""FHIR changes to HL7 v2 messages, by tables: what is to be told to a system that takes messages.

Nothing is looked up here, and nothing is left out in silence: what a message has no place for is
`Unsayable`, and then no message is made.
"""
