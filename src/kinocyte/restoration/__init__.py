"""Background, illumination, bleaching, channel offset and denoising: arrays in, arrays out."""
