"""Networks of ids to ids: encoder, decoder, teacher forcing, losses and the beam search. No text, no files, no Beam."""
