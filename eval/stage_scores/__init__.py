"""What single stages ask of a judge: probes of a training, filters, edits and sleep on the planted
world.
"""
