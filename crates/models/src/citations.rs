//! The works behind the base models, as a paper cites them: authors, title, journal, year, and where there is one the DOI
//! after `doi:`.

/// expiMap.
pub(crate) const EXPIMAP: &str = "Lotfollahi M. et al. Biologically informed deep learning to query gene programs in \
    single-cell atlases. Nat Cell Biol 25, 337–350 (2023). doi:10.1038/s41556-022-01072-x";
/// Mapping by architecture surgery, whatever the model.
pub(crate) const SCARCHES: &str = "Lotfollahi M. et al. Mapping single-cell data to reference atlases by transfer \
    learning. Nat Biotechnol 40, 121–130 (2022). doi:10.1038/s41587-021-01001-7";
/// The conditional variational autoencoder.
pub(crate) const CVAE: &str = "Sohn K., Lee H., Yan X. Learning structured output representation using deep conditional \
    generative models. Adv Neural Inf Process Syst 28 (2015).";
/// trVAE.
pub(crate) const TRVAE: &str = "Lotfollahi M., Naghipourfar M., Theis F. J., Wolf F. A. Conditional out-of-distribution \
    generation for unpaired data using transfer VAE. Bioinformatics 36, i610–i617 (2020). \
    doi:10.1093/bioinformatics/btaa800";
/// scVI.
pub(crate) const SCVI: &str = "Lopez R. et al. Deep generative modeling for single-cell transcriptomics. Nat Methods 15, \
    1053–1058 (2018). doi:10.1038/s41592-018-0229-2";
/// scVI with a linear decoder.
pub(crate) const LINEAR: &str = "Svensson V., Gayoso A., Yosef N., Pachter L. Interpretable factor models of single-cell \
    RNA-seq via variational autoencoders. Bioinformatics 36, 3418–3421 (2020). doi:10.1093/bioinformatics/btaa169";
/// scANVI.
pub(crate) const SCANVI: &str = "Xu C. et al. Probabilistic harmonization and annotation of single-cell transcriptomics \
    data with deep generative models. Mol Syst Biol 17, e9620 (2021). doi:10.15252/msb.20209620";
/// totalVI.
pub(crate) const TOTALVI: &str = "Gayoso A. et al. Joint probabilistic modeling of single-cell multi-omic data with \
    totalVI. Nat Methods 18, 272–282 (2021). doi:10.1038/s41592-020-01050-x";
